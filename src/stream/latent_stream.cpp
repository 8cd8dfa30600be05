// Positions -> samples -> wishes to their sources -> batches.
#include "stream/latent_stream.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>

#include "core/error.h"
#include "core/log.h"
#include "stream/order.h"
#include "stream/prefetch.h"
#include "stream/preload.h"
#include "stream/stream_sources.h"

namespace microdit::stream {
namespace {

constexpr std::int64_t kDefaultRun = 32;
// So many bad rows are forgiven before the share counts: the first of a run is no 100 %.
constexpr double kForgiven = 16;

std::vector<double> proportions(const StreamConfig& config) {
  std::vector<double> all;
  for (const SourceConfig& source : config.sources) all.push_back(source.proportion);
  return all;
}

/// The machine's, or what its control group grants of it.
std::uint64_t memory_bytes() {
  const std::uint64_t physical = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                                 static_cast<std::uint64_t>(::sysconf(_SC_PAGE_SIZE));
  std::ifstream file("/sys/fs/cgroup/memory.max");
  std::uint64_t granted = 0;
  return file >> granted && granted > 0 ? std::min(physical, granted) : physical;
}

std::uint64_t size_or_0(const std::filesystem::path& file) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  return error ? 0 : size;
}

}  // namespace

struct LatentStream::Impl {
  StreamConfig config;
  std::vector<std::unique_ptr<RowSource>> sources;
  std::vector<std::int64_t> first_sample;  ///< global index of each source's first sample, and the total
  StreamFacts facts;
  bool by_size = false;  ///< one order over all sources
  std::int64_t run = 1;
  Mixture mixture;
  mutable std::atomic<std::int64_t> num_read{0}, num_bad{0};
  std::unique_ptr<Preload> preload;
  std::unique_ptr<Prefetcher> prefetcher;

  explicit Impl(const StreamConfig& given) : config(given), mixture({1.0}) {
    check_config(config);
    by_size = stream::by_size(proportions(config)) || config.sources.size() == 1;
    sources = open_sources(config);
    if (config.classes) demand_classes(sources);
    count_samples();
    facts = agree(config, sources);
    run = config.shuffle_run > 0 ? config.shuffle_run
                                 : std::stoll(config.once([this] { return automatic_run(); }));
    if (!by_size) mixture = Mixture(proportions(config));
  }

  void count_samples() {
    first_sample = {0};
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const std::int64_t there = sources[i]->num_samples(), limit = config.sources[i].limit;
      first_sample.push_back(first_sample.back() + (limit > 0 ? std::min(limit, there) : there));
    }
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (num_samples(i) > 0 || (by_size && total() > 0)) continue;
      throw EmptySplit(
          fmt::format("{}: no samples in split `{}`{}{}", sources[i]->name(), config.split,
                      config.classes ? " that have a class" : "",
                      config.sources[i].min_side > 0
                          ? fmt::format(" with a shorter side of {} pixels", config.sources[i].min_side)
                          : ""));
    }
  }

  std::uint64_t wanted_bytes() const {
    return static_cast<std::uint64_t>(total()) * (facts.shape.latents_bytes() + facts.shape.text_bytes());
  }
  bool fits_in_memory() const { return wanted_bytes() <= memory_bytes() / 2; }

  std::string automatic_run() const { return std::to_string(fits_in_memory() ? 1 : kDefaultRun); }

  // Single rows in random order of what fits in memory: the one case in which all is wanted soon, and stays.
  void begin_to_preload() {
    const ReadSettings& reading = config.reading;
    if (!reading.preload || !reading.rules.keep_pages || !reading.cache_dir.empty()) return;
    if (run != 1 || !fits_in_memory()) return;
    // Files are read whole, with other sizes, captions, rows that a limit leaves out: all of that must fit, and not be nearly all.
    std::uint64_t whole = 0;
    for (const auto& source : sources)
      for (const std::filesystem::path& file : source->files()) whole += size_or_0(file);
    if (whole > memory_bytes() / 2 || whole > 8 * wanted_bytes()) return;
    preload = std::make_unique<Preload>(sources);
  }

  std::int64_t total() const { return first_sample.back(); }
  std::int64_t num_samples(std::size_t source) const {
    return first_sample[source + 1] - first_sample[source];
  }

  std::int64_t sample_at(std::int64_t position) const {
    core::check(position >= 0, "stream position {}", position);
    if (!config.shuffle) return position % total();
    if (by_size) return shuffled(0, position, total());
    const Turn turn = mixture.at(position);
    return first_sample[turn.source] + shuffled(turn.source, turn.index, num_samples(turn.source));
  }

  std::int64_t shuffled(std::size_t source, std::int64_t index, std::int64_t size) const {
    return EpochOrder(size, run, config.seed, source, static_cast<std::uint64_t>(index / size))(index % size);
  }

  std::size_t source_of(std::int64_t sample) const {
    const auto after = std::upper_bound(first_sample.begin(), first_sample.end(), sample);
    return static_cast<std::size_t>(after - first_sample.begin()) - 1;
  }

  void resize(std::int64_t count, bool with_captions, Batch& batch) const;
  RowWish wish_for(std::size_t row, Batch& batch, std::size_t source, bool with_captions) const;
  void fill(std::int64_t first, std::int64_t count, bool with_captions, Batch& batch) const;
  void replace(std::size_t source, RowWish& wish) const;
  void tell(std::size_t source, const RowWish& bad, std::int64_t instead) const;
};

void LatentStream::Impl::resize(std::int64_t count, bool with_captions, Batch& batch) const {
  const auto size = static_cast<std::size_t>(count);
  const RowShape& shape = facts.shape;
  batch.count = count;
  batch.latents.resize(size * shape.latents_bytes() / 2, config.reading.allocate);
  if (config.text && shape.tokens_only)
    batch.ids.resize(size * static_cast<std::size_t>(shape.text_length), config.reading.allocate);
  else if (config.text)
    batch.text.resize(size * shape.text_bytes() / 2, config.reading.allocate);
  batch.text_length.resize(size);
  batch.captioned.resize(size);
  batch.classes.resize(size);
  batch.sample.resize(size);
  batch.position.resize(size);
  batch.captions.assign(with_captions ? size : 0, "");
}

RowWish LatentStream::Impl::wish_for(std::size_t row, Batch& batch, std::size_t source,
                                     bool with_captions) const {
  const RowShape& shape = facts.shape;
  std::byte* text = reinterpret_cast<std::byte*>(shape.tokens_only ? static_cast<void*>(batch.ids.data())
                                                                   : static_cast<void*>(batch.text.data()));
  RowWish wish;
  wish.sample = batch.sample[row] - first_sample[source];
  wish.position = batch.position[row];
  wish.drop_caption = drops_caption(config.caption_drop, config.seed, wish.position);
  wish.latents = reinterpret_cast<std::byte*>(batch.latents.data()) + row * shape.latents_bytes();
  if (config.text) wish.text = text + row * shape.text_bytes();
  wish.caption = with_captions ? &batch.captions[row] : nullptr;
  return wish;
}

void LatentStream::Impl::fill(std::int64_t first, std::int64_t count, bool with_captions,
                              Batch& batch) const {
  resize(count, with_captions, batch);
  std::vector<std::vector<RowWish>> wishes(sources.size());
  std::vector<std::vector<std::size_t>> rows(sources.size());
  for (std::size_t row = 0; row < static_cast<std::size_t>(count); ++row) {
    batch.position[row] = first + static_cast<std::int64_t>(row);
    batch.sample[row] = sample_at(batch.position[row]);
    const std::size_t source = source_of(batch.sample[row]);
    wishes[source].push_back(wish_for(row, batch, source, with_captions));
    rows[source].push_back(row);
  }
  for (std::size_t source = 0; source < sources.size(); ++source) {
    if (wishes[source].empty()) continue;
    sources[source]->read(wishes[source]);
    num_read += static_cast<std::int64_t>(wishes[source].size());
    for (std::size_t i = 0; i < wishes[source].size(); ++i) {
      RowWish& wish = wishes[source][i];
      if (wish.bad) replace(source, wish);
      const std::size_t row = rows[source][i];
      batch.sample[row] = first_sample[source] + wish.sample;
      // Without text a sample's class is its condition, whether it has a caption or not.
      batch.captioned[row] = config.text ? !wish.no_caption : !wish.drop_caption;
      batch.classes[row] = wish.class_number;
      batch.text_length[row] = wish.no_caption ? 0 : wish.text_length;
      if (wish.no_caption && wish.text != nullptr)
        std::memset(wish.text, 0, facts.shape.text_bytes());  // the null condition: zero rows
    }
  }
}

// Neighbours first: they are most likely of the same picture size and of the same run. Then far away: a whole file may be gone.
void LatentStream::Impl::replace(std::size_t source, RowWish& wish) const {
  const std::int64_t bad = ++num_bad, size = num_samples(source);
  if (config.reading.max_bad_fraction == 0) std::rethrow_exception(wish.bad);
  if (static_cast<double>(bad) >
      kForgiven + config.reading.max_bad_fraction * static_cast<double>(num_read)) {
    try {
      std::rethrow_exception(wish.bad);
    } catch (const std::exception& error) {
      core::throw_from_text(core::error_to_text(
          error, fmt::format("{} of {} rows could not be read (max_bad_fraction={}); the last: ", bad,
                             num_read.load(), config.reading.max_bad_fraction)));
    }
  }
  for (const std::int64_t step :
       {std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, size / 2, size / 2 + 1}) {
    RowWish other = wish;
    other.bad = nullptr;
    other.sample = (wish.sample + step) % size;
    sources[source]->read(std::span(&other, 1));
    if (other.bad) continue;
    tell(source, wish, other.sample);
    wish = other;
    return;
  }
  std::rethrow_exception(wish.bad);
}

void LatentStream::Impl::tell(std::size_t source, const RowWish& bad, std::int64_t instead) const {
  const std::int64_t count = num_bad;
  if (count > 10 && (count & (count - 1)) != 0) return;  // the first ten, then at each doubling
  try {
    std::rethrow_exception(bad.bad);
  } catch (const std::exception& error) {
    core::log_warn("bad row {} so far: {}; sample {} of {} is shown instead", count, error.what(), instead,
                   sources[source]->name());
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

std::int64_t LatentStream::shuffle_run() const {
  return impl_->run;
}

std::vector<core::Json> LatentStream::pins() const {
  std::vector<core::Json> pins;
  for (std::size_t i = 0; i < impl_->sources.size(); ++i) {
    pins.push_back(impl_->sources[i]->pin());
    pins.back()["rows"] = impl_->num_samples(i);
  }
  return pins;
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
  if (!impl_->preload) impl_->begin_to_preload();
  const Impl* impl = impl_.get();
  impl_->prefetcher = std::make_unique<Prefetcher>(
      [=](std::int64_t slice, Batch& batch) { impl->fill(first + slice * stride, count, false, batch); },
      impl_->config.reading.threads, depth);
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

std::int64_t LatentStream::num_bad() const {
  return impl_->num_bad;
}

}  // namespace microdit::stream
