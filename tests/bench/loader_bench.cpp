// Samples per second of LatentStream: `loader_bench make FOLDER [SAMPLES]`, `loader_bench run FOLDER [BATCH
// THREADS]`. loader_bench.py runs it beside h5py. Shape: 4 x 32 x 32 latents and 77 x 1024 text, both fp16,
// 165,888 bytes a sample.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/seed.h"
#include "store/manifest.h"
#include "store/sample_hash.h"
#include "store/shard.h"
#include "stream/latent_stream.h"

namespace {

using namespace microdit;

constexpr std::int64_t kRowsPerShard = 500;
constexpr std::int64_t kChannels = 4, kSide = 32, kLength = 77, kWidth = 1024;

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
store::Column values(std::string name, core::DType dtype, const std::vector<T>& all) {
  store::Column column{std::move(name), dtype, {static_cast<std::int64_t>(all.size())}, {}};
  column.bytes.resize(all.size() * sizeof(T));
  std::memcpy(column.bytes.data(), all.data(), column.bytes.size());
  return column;
}

/// Facts of an encoder that never was: training on random numbers opens none.
core::Json no_encoder(core::Json facts) {
  facts.update({{"kind", "random numbers"}, {"folder", "none"}, {"sha256", std::string(64, '0')}});
  return facts;
}

void make(const std::string& folder, std::int64_t samples) {
  const core::Json facts = {
      {"stage", "latents"},
      {"channels", kChannels},
      {"sizes", {256}},
      {"downscale", 8},
      {"text_length", kLength},
      {"text_width", kWidth},
      {"caption_sources", {"alt"}},
      {"codec",
       no_encoder(
           {{"scaling_factor", 1.0}, {"shift_factor", 0.0}, {"channels", kChannels}, {"downscale", 8}})},
      {"text_encoder", no_encoder({{"width", kWidth}})},
      {"samples", samples}};
  const std::int64_t shards = (samples + kRowsPerShard - 1) / kRowsPerShard;
  store::StageFolder stage(folder, facts, shards);
  for (std::int64_t shard = 0; shard < shards; ++shard) {
    const std::string item = fmt::format("part-{:05}", shard);
    if (stage.done(item)) continue;
    const std::int64_t rows = std::min(kRowsPerShard, samples - shard * kRowsPerShard);
    core::CounterRng rng(1, core::Purpose::init, static_cast<std::uint64_t>(shard));
    store::ShardContents contents;
    contents.columns.push_back(halves("latents_256", {rows, kChannels, kSide, kSide}, rng));
    contents.columns.push_back(halves("text", {rows, kLength, kWidth}, rng));
    std::vector<std::int64_t> offsets = {0};
    std::vector<std::int32_t> owned;
    for (std::int64_t row = 0; row < rows; ++row) {
      owned.push_back(static_cast<std::int32_t>(row));
      offsets.push_back(row + 1);
    }
    contents.columns.push_back(values("caption_offsets", core::DType::i64, offsets));
    contents.columns.push_back(values("caption_rows", core::DType::i32, owned));
    const std::vector<std::uint8_t> zeros(static_cast<std::size_t>(rows), 0);
    contents.columns.push_back(values("caption_source", core::DType::u8, zeros));
    contents.columns.push_back(values("split", core::DType::u8, zeros));
    const store::SampleLayout layout{
        {"latents_256", "split"}, {}, "caption_offsets", "caption_rows", {"text"}};
    contents.attributes = {{"layout", store::to_json(layout)}};
    contents.sample_hashes = store::hash_samples(contents, layout);
    const std::string file = item + "-00000.h5";
    const std::string sha256 = store::write_shard(stage.path() / file, contents);
    stage.commit({item,
                  {{file, rows, std::filesystem::file_size(stage.path() / file), sha256}},
                  core::Json::object()});
  }
  stage.finish_if_complete();
}

// One pass over the folder in random order; prints samples per second.
void run(const std::string& folder, std::int64_t batch, std::int64_t threads) {
  stream::StreamConfig config;
  config.sources = {{folder, 1}};
  config.size = 256;
  config.seed = 7;
  config.threads = threads;
  const auto opening = std::chrono::steady_clock::now();
  stream::LatentStream stream(config);
  const auto begin = std::chrono::steady_clock::now();
  stream.start(0, batch, batch, threads + 2);
  const std::int64_t batches = std::max<std::int64_t>(stream.num_samples() / batch, 1);
  std::uint64_t sum = 0;  // so that nothing can be left out
  for (std::int64_t i = 0; i < batches; ++i) {
    stream::Batch got = stream.next();
    sum += got.latents[0] + got.text.back();
    stream.recycle(std::move(got));
  }
  const auto end = std::chrono::steady_clock::now();
  const auto seconds = [](auto a, auto b) { return std::chrono::duration<double>(b - a).count(); };
  fmt::print("{{\"samples_per_s\": {:.1f}, \"open_s\": {:.4f}, \"waited_s\": {:.4f}, \"check\": {}}}\n",
             static_cast<double>(batches * batch) / seconds(begin, end), seconds(opening, begin),
             stream.waited_s(), sum);
}

}  // namespace

int main(int count, char** words) {
  try {
    const std::vector<std::string> args(words + 1, words + count);
    const auto number = [&](std::size_t i, std::int64_t otherwise) {
      return args.size() > i ? std::strtoll(args[i].c_str(), nullptr, 10) : otherwise;
    };
    if (args.size() >= 2 && args[0] == "make") {
      make(args[1], number(2, 4000));
    } else if (args.size() >= 2 && args[0] == "run") {
      run(args[1], number(2, 64), number(3, 1));
    } else {
      std::fputs("usage: loader_bench make FOLDER [SAMPLES] | run FOLDER [BATCH THREADS]\n", stderr);
      return 2;
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
