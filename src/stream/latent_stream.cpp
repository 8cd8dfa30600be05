// Positions -> samples -> rows -> batches.
#include "stream/latent_stream.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/log.h"
#include "core/seed.h"
#include "stream/order.h"
#include "stream/prefetch.h"
#include "stream/row_reader.h"
#include "stream/source_index.h"

namespace microdit::stream {
namespace {

constexpr std::size_t kMaxOpenFiles = 256;  // well below the usual limit of 1024 per process
constexpr std::int64_t kNoText = -1;        // the null condition

void check_config(const StreamConfig& config) {
  if (config.sources.empty()) core::user_error("sources: name at least one latents folder");
  if (config.sources.size() > 1024)
    core::user_error("sources: {} folders, 1024 are the most", config.sources.size());
  if (config.size <= 0) core::user_error("size: {} is not a picture side in pixels", config.size);
  if (config.split != "train" && config.split != "held_out")
    core::user_error("split: `{}` is neither train nor held_out", config.split);
  if (!(config.caption_drop >= 0 && config.caption_drop <= 1))
    core::user_error("caption_drop: {} is not a probability", config.caption_drop);
  if (config.threads < 1) core::user_error("threads: {}, at least 1 is needed", config.threads);
}

std::vector<double> proportions(const StreamConfig& config) {
  std::vector<double> all;
  for (const SourceConfig& source : config.sources) all.push_back(source.proportion);
  return all;
}

}  // namespace

struct LatentStream::Impl {
  StreamConfig config;
  std::vector<SourceIndex> sources;
  std::vector<std::int64_t> first_sample;  ///< global index of each source's first sample, and the total
  StreamFacts facts;
  bool by_size = false;  ///< one permutation over all sources
  Mixture mixture;
  std::unique_ptr<RowReader> rows;
  std::unique_ptr<Prefetcher> prefetcher;

  explicit Impl(const StreamConfig& given) : config(given), mixture({1.0}) {
    check_config(config);
    by_size = stream::by_size(proportions(config)) || config.sources.size() == 1;
    first_sample = {0};
    for (const SourceConfig& source : config.sources) {
      sources.push_back(read_index(source, config));
      first_sample.push_back(first_sample.back() + sources.back().num_samples);
      const std::int64_t without = sources.back().num_without_caption;
      if (without > 0 && without == sources.back().num_samples && !config.caption_sources.empty())
        core::user_error("caption_sources: no sample of {} has such a caption", source.folder.string());
      if (without > 0)
        core::log_warn(
            "{}: {} of {} samples have no caption of the wanted sources; they show the null condition",
            source.folder.string(), without, sources.back().num_samples);
    }
    check_samples();
    facts = agree(sources, config);
    if (!by_size) mixture = Mixture(proportions(config));
    rows = std::make_unique<RowReader>(kMaxOpenFiles, config.shuffle);
  }

  std::int64_t total() const { return first_sample.back(); }

  void check_samples() const {
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].num_samples > 0 || (by_size && total() > 0)) continue;
      throw EmptySplit(
          fmt::format("{}: no samples in split `{}`", config.sources[i].folder.string(), config.split));
    }
  }

  std::int64_t sample_at(std::int64_t position) const {
    core::check(position >= 0, "stream position {}", position);
    if (!config.shuffle) return position % total();
    if (by_size) return shuffled(0, position, total());
    const Turn turn = mixture.at(position);
    return first_sample[turn.source] + shuffled(turn.source, turn.index, sources[turn.source].num_samples);
  }

  std::int64_t shuffled(std::size_t source, std::int64_t index, std::int64_t size) const {
    return Permutation(size, config.seed, source, static_cast<std::uint64_t>(index / size))(index % size);
  }

  // Where sample `sample` lies: its shard and its place in the shard's list.
  std::pair<const ShardIndex*, std::size_t> find(std::int64_t sample) const {
    const auto after = std::upper_bound(first_sample.begin(), first_sample.end(), sample);
    const std::size_t source = static_cast<std::size_t>(after - first_sample.begin()) - 1;
    const std::int64_t index = sample - first_sample[source];
    const ShardIndex& shard = sources[source].shard_of(index);
    return {&shard, static_cast<std::size_t>(index - shard.first)};
  }

  // The text row that a position shows: a function of (seed, position) and the sample alone.
  std::int64_t text_row(const ShardIndex& shard, std::size_t place, std::int64_t position) const {
    const std::uint32_t begin = shard.choice_offsets[place], end = shard.choice_offsets[place + 1];
    const std::uint64_t at = static_cast<std::uint64_t>(position);
    if (begin == end) return kNoText;
    if (config.caption_drop > 0 &&
        core::CounterRng(config.seed, core::Purpose::caption_drop, at).uniform() < config.caption_drop)
      return kNoText;
    if (end - begin == 1) return shard.choices[begin];
    return shard
        .choices[begin + core::CounterRng(config.seed, core::Purpose::caption_choice, at).below(end - begin)];
  }

  void fill(std::int64_t first, std::int64_t count, bool with_captions, Batch& batch) const;
  void add_captions(std::vector<RowRequest>& texts, Batch& batch) const;
};

void LatentStream::Impl::fill(std::int64_t first, std::int64_t count, bool with_captions,
                              Batch& batch) const {
  const std::size_t latent = static_cast<std::size_t>(facts.channels * facts.latent_size * facts.latent_size);
  const std::size_t text = static_cast<std::size_t>(facts.text_length * facts.text_width);
  const std::size_t size = static_cast<std::size_t>(count);
  batch.count = count;
  batch.latents.resize(size * latent);
  batch.text.resize(size * text);
  batch.sample.resize(size);
  batch.position.resize(size);
  batch.captions.clear();
  std::vector<RowRequest> requests, texts;
  for (std::size_t i = 0; i < size; ++i) {
    batch.position[i] = first + static_cast<std::int64_t>(i);
    batch.sample[i] = sample_at(batch.position[i]);
    const auto [shard, place] = find(batch.sample[i]);
    const std::int64_t row = shard->rows[place];
    requests.push_back(
        {shard, &shard->latents, row, row, reinterpret_cast<std::byte*>(&batch.latents[i * latent])});
    std::uint16_t* out = &batch.text[i * text];
    const std::int64_t chosen = text_row(*shard, place, batch.position[i]);
    if (chosen == kNoText) {
      std::memset(out, 0, text * sizeof(*out));
    } else {
      texts.push_back({shard, &shard->text, chosen, row, reinterpret_cast<std::byte*>(out)});
    }
  }
  requests.insert(requests.end(), texts.begin(), texts.end());
  rows->read(requests);
  if (with_captions) add_captions(texts, batch);
}

// Texts are few and small next to the rows, and only asked for by hand: whole columns, checked, shard by
// shard.
void LatentStream::Impl::add_captions(std::vector<RowRequest>& texts, Batch& batch) const {
  batch.captions.assign(static_cast<std::size_t>(batch.count), "");
  std::stable_sort(texts.begin(), texts.end(),
                   [](const RowRequest& a, const RowRequest& b) { return a.shard < b.shard; });
  const std::byte* begin = reinterpret_cast<const std::byte*>(batch.text.data());
  std::vector<std::string> strings;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i == 0 || texts[i].shard != texts[i - 1].shard)
      strings = store::read_strings(store::ShardReader(texts[i].shard->path), "text_caption");
    const std::size_t row = static_cast<std::size_t>(texts[i].row);
    if (row >= strings.size())
      core::user_error("{}: `text_caption` has {} rows, row {} is wanted; make the shard again",
                       texts[i].shard->path.string(), strings.size(), row);
    const std::size_t at = static_cast<std::size_t>(texts[i].out - begin) / texts[i].table->row_bytes;
    batch.captions[at] = strings[row];
  }
}

LatentStream::LatentStream(const StreamConfig& config) : impl_(std::make_unique<Impl>(config)) {}

LatentStream::~LatentStream() = default;

const StreamFacts& LatentStream::facts() const {
  return impl_->facts;
}

std::int64_t LatentStream::num_samples() const {
  return impl_->total();
}

std::int64_t LatentStream::sample_at(std::int64_t position) const {
  return impl_->sample_at(position);
}

Batch LatentStream::read(std::int64_t first, std::int64_t count, bool with_captions) const {
  core::check(count >= 0, "a batch of {} rows", count);
  Batch batch;
  impl_->fill(first, count, with_captions, batch);
  return batch;
}

void LatentStream::start(std::int64_t first, std::int64_t count, std::int64_t stride, std::int64_t depth) {
  core::check(first >= 0 && count > 0 && stride >= count && depth > 0,
              "slices of {} from {}, stride {}, depth {}", count, first, stride, depth);
  impl_->prefetcher.reset();
  const Impl* impl = impl_.get();
  impl_->prefetcher = std::make_unique<Prefetcher>(
      [=](std::int64_t slice, Batch& batch) { impl->fill(first + slice * stride, count, false, batch); },
      impl_->config.threads, depth);
}

Batch LatentStream::next() {
  core::check(impl_->prefetcher != nullptr, "LatentStream::next() before start()");
  return impl_->prefetcher->next();
}

void LatentStream::recycle(Batch&& used) {
  core::check(impl_->prefetcher != nullptr, "LatentStream::recycle() before start()");
  impl_->prefetcher->recycle(std::move(used));
}

double LatentStream::waited_s() const {
  return impl_->prefetcher ? impl_->prefetcher->waited_s() : 0;
}

}  // namespace microdit::stream
