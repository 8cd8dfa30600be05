// Samples per second of LatentStream, as tensors: `loader_bench make FOLDER [samples=N]`, `loader_bench run FOLDER [KEY=N ...]`,
// `loader_bench memcpy [KEY=N ...]`. loader_bench.py runs it beside other loaders. Shape: 4 x 32 x 32 latents and 77 x 1024
// text, both fp16, 165,888 bytes a sample.
#include <ATen/Functions.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/seed.h"
#include "store/latent_index.h"
#include "store/manifest.h"
#include "store/sample_hash.h"
#include "store/shard_writer.h"
#include "stream/latent_stream.h"

namespace {

using namespace microdit;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kRowsPerShard = 500;
constexpr std::int64_t kChannels = 4, kSide = 32, kLength = 77, kWidth = 1024;
constexpr std::size_t kRowBytes = (kChannels * kSide * kSide + kLength * kWidth) * 2;

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

store::Column halves(std::string name, std::vector<std::int64_t> shape, core::CounterRng& rng) {
  store::Column column{std::move(name), core::DType::f16, std::move(shape), {}};
  std::size_t count = 1;
  for (const std::int64_t extent : column.shape) count *= static_cast<std::size_t>(extent);
  column.bytes.resize(count * 2);
  for (std::size_t i = 0; i + 1 < count; i += 2) {
    const std::uint32_t two = rng.next_u32() & 0x3bff3bff;  // finite, below 1
    std::memcpy(&column.bytes[i * 2], &two, 4);
  }
  return column;
}

template <class T>
store::Column values(std::string name, core::DType dtype, std::vector<std::int64_t> shape,
                     const std::vector<T>& all) {
  store::Column column{std::move(name), dtype, std::move(shape), {}};
  column.bytes.resize(all.size() * sizeof(T));
  std::memcpy(column.bytes.data(), all.data(), column.bytes.size());
  return column;
}

void finish(store::ShardContents& contents, const store::SampleLayout& layout) {
  contents.attributes = {{"layout", store::to_json(layout)}};
  contents.sample_hashes = store::hash_samples(contents, layout);
}

std::vector<std::int32_t> counted(std::int64_t rows) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(rows));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

store::ShardContents images(std::int64_t rows, core::CounterRng& rng) {
  const auto count = static_cast<std::size_t>(rows);
  store::ShardContents contents;
  contents.columns.push_back(halves("latents_256", {rows, kChannels, kSide, kSide}, rng));
  contents.columns.push_back(values("latents_256_row", core::DType::i32, {rows}, counted(rows)));
  contents.columns.push_back(
      values("width", core::DType::i32, {rows}, std::vector<std::int32_t>(count, 512)));
  contents.columns.push_back(
      values("height", core::DType::i32, {rows}, std::vector<std::int32_t>(count, 512)));
  contents.columns.push_back(values("split", core::DType::u8, {rows}, std::vector<std::uint8_t>(count, 0)));
  store::SampleLayout layout;
  layout.fixed = {"split", "width", "height"};
  layout.optional = {"latents_256"};
  finish(contents, layout);
  return contents;
}

store::ShardContents texts(std::int64_t rows, core::CounterRng& rng) {
  const auto count = static_cast<std::size_t>(rows);
  store::ShardContents contents;
  contents.columns.push_back(halves("text", {rows, kLength, kWidth}, rng));
  contents.columns.push_back(values("text_ids", core::DType::i32, {rows, kLength},
                                    std::vector<std::int32_t>(count * static_cast<std::size_t>(kLength), 7)));
  contents.columns.push_back(values("text_length", core::DType::i32, {rows},
                                    std::vector<std::int32_t>(count, static_cast<std::int32_t>(kLength))));
  std::vector<std::int64_t> offsets(count + 1);
  std::iota(offsets.begin(), offsets.end(), 0);
  contents.columns.push_back(values("caption_offsets", core::DType::i64, {rows + 1}, offsets));
  contents.columns.push_back(values("caption_rows", core::DType::i32, {rows}, counted(rows)));
  contents.columns.push_back(
      values("caption_source", core::DType::u8, {rows}, std::vector<std::uint8_t>(count, 0)));
  store::add_strings(contents, "text_caption", std::vector<std::string>(count, "a caption"));
  store::SampleLayout layout;
  layout.via_offsets = "caption_offsets";
  layout.via_index = "caption_rows";
  layout.shared = {"text", "text_ids"};
  finish(contents, layout);
  return contents;
}

/// Facts of an encoder that never was: training on random numbers opens none.
core::Json no_encoder(core::Json facts) {
  facts.update({{"kind", "random numbers"}, {"sha256", std::string(64, '0')}});
  return facts;
}

core::Json facts() {
  return {{"stage", "latents"},
          {"dataset", "random"},
          {"recipe", "random"},
          {"channels", kChannels},
          {"sizes", {256}},
          {"downscale", 8},
          {"enlarge", false},
          {"text_length", kLength},
          {"text_width", kWidth},
          {"caption_sources", {"alt"}},
          {"codec",
           no_encoder(
               {{"scaling_factor", 1.0}, {"shift_factor", 0.0}, {"channels", kChannels}, {"downscale", 8}})},
          {"text_encoder", no_encoder({{"width", kWidth}})}};
}

void make(const std::string& folder, std::int64_t samples) {
  store::StageFolder stage(folder, facts());
  for (std::int64_t first = 0; first < samples; first += kRowsPerShard) {
    const std::int64_t shard = first / kRowsPerShard;
    const std::string item = fmt::format("part-{:05}-00000", shard);
    const std::int64_t rows = std::min(kRowsPerShard, samples - first);
    core::CounterRng rng(1, core::Purpose::init, static_cast<std::uint64_t>(shard));
    for (const bool pictures : {true, false}) {
      const std::string name = item + (pictures ? ".images" : ".text");
      if (stage.done(name)) continue;
      const std::filesystem::path file = stage.path() / (name + ".h5");
      const std::string sha256 = store::write_shard(file, pictures ? images(rows, rng) : texts(rows, rng));
      const core::Json inputs = {{"samples_sha256", "none"}};
      stage.commit({name, inputs},
                   {name, {{file.filename().string(), rows, std::filesystem::file_size(file), sha256}}});
    }
  }
  stage.close(stage.survey(),
              [&](const store::Manifest& manifest) { return store::write_latent_index(folder, manifest); });
}

using Numbers = std::map<std::string, std::int64_t>;

/// Passes over the folder, from a position of the stream on; what the batches hold becomes tensors without a copy. The clock runs from the
/// first batch to the last, as the other loaders' does.
void run(const std::string& folder, const Numbers& with) {
  stream::StreamConfig config;
  config.sources.resize(1);
  config.sources[0].folder = folder;
  config.size = 256;
  config.seed = 7;
  config.shuffle_run = with.at("run");
  config.reading.threads = with.at("threads");
  config.reading.preload = with.at("preload") != 0;
  const std::int64_t batch = with.at("batch"), first = with.at("first");
  const auto opening = Clock::now();
  stream::LatentStream stream(config);
  const auto begin = Clock::now();
  stream.start(first, batch, batch, with.at("depth") > 0 ? with.at("depth") : with.at("threads") + 2);
  const std::int64_t samples = with.at("samples") > 0 ? with.at("samples") : stream.num_samples();
  const std::int64_t batches = std::max<std::int64_t>(samples * with.at("passes") / batch, 1);
  double sum = 0;  // so that nothing can be left out
  Clock::time_point first_batch;
  for (std::int64_t i = 0; i < batches; ++i) {
    stream::Batch got = stream.next();
    const at::Tensor latents = at::from_blob(got.latents.data(), {batch, kChannels, kSide, kSide}, at::kHalf);
    const at::Tensor text = at::from_blob(got.text.data(), {batch, kLength, kWidth}, at::kHalf);
    sum += static_cast<double>(latents.data_ptr<at::Half>()[0]) +
           static_cast<double>(text.data_ptr<at::Half>()[text.numel() - 1]);
    if (i == 0) first_batch = Clock::now();
    stream.recycle(std::move(got));
  }
  const double pass_s = seconds(first_batch, Clock::now());
  fmt::print(
      "{{\"samples_per_s\": {:.1f}, \"open_s\": {:.4f}, \"first_batch_s\": {:.4f}, \"waited_s\": {:.4f}, "
      "\"check\": {}}}\n",
      batches > 1 ? static_cast<double>((batches - 1) * batch) / pass_s : 0, seconds(opening, begin),
      seconds(opening, first_batch), stream.waited_s(), sum);
}

/// The same bytes, row by row in random order from one large piece of memory into the slots of a batch: what no loader can beat.
void copy_memory(const Numbers& with) {
  const auto rows = static_cast<std::size_t>(with.at("samples") > 0 ? with.at("samples") : 4000);
  const auto batch = static_cast<std::size_t>(with.at("batch"));
  const auto threads = static_cast<std::size_t>(with.at("threads"));
  const auto passes = static_cast<std::size_t>(with.at("passes"));
  const std::vector<std::byte> from(rows * kRowBytes, std::byte{1});
  std::vector<std::size_t> order(rows);
  core::CounterRng rng(3, core::Purpose::order);
  for (std::size_t& row : order) row = rng.below(rows);
  std::vector<std::vector<std::byte>> slots(threads, std::vector<std::byte>(batch * kRowBytes));
  const auto begin = Clock::now();
  std::vector<std::thread> workers;
  for (std::size_t t = 0; t < threads; ++t)
    workers.emplace_back([&, t] {
      for (std::size_t i = t, done = 0; i < rows * passes; i += threads, ++done)
        std::memcpy(&slots[t][done % batch * kRowBytes], &from[order[i % rows] * kRowBytes], kRowBytes);
    });
  for (std::thread& worker : workers) worker.join();
  fmt::print("{{\"samples_per_s\": {:.1f}}}\n",
             static_cast<double>(rows * passes) / seconds(begin, Clock::now()));
}

Numbers numbers(const std::vector<std::string>& words) {
  Numbers all = {{"samples", 0}, {"batch", 64}, {"threads", 1}, {"run", 1},
                 {"first", 0},   {"depth", 0},  {"passes", 1},  {"preload", 0}};
  for (const std::string& word : words) {
    const std::size_t sign = word.find('=');
    if (sign == word.npos || !all.contains(word.substr(0, sign)))
      core::user_error("loader_bench: `{}`; known: samples= batch= threads= run= first= depth= passes=",
                       word);
    all[word.substr(0, sign)] = std::strtoll(word.c_str() + sign + 1, nullptr, 10);
  }
  return all;
}

}  // namespace

int main(int count, char** words) {
  try {
    const std::vector<std::string> args(words + 1, words + count);
    const std::string what = args.empty() ? "" : args[0];
    if (what == "memcpy") {
      copy_memory(numbers({args.begin() + 1, args.end()}));
    } else if (args.size() >= 2 && (what == "make" || what == "run")) {
      const Numbers with = numbers({args.begin() + 2, args.end()});
      if (what == "make")
        make(args[1], with.at("samples") > 0 ? with.at("samples") : 4000);
      else
        run(args[1], with);
    } else {
      std::fputs(
          "usage: loader_bench make FOLDER [KEY=N ...] | run FOLDER [KEY=N ...] | memcpy [KEY=N ...]\n",
          stderr);
      return 2;
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
