// Wishes -> runs of neighbouring samples -> one read each -> values.
#include "stream/mds_source.h"

#include <algorithm>
#include <cstring>

#include "core/dtype.h"
#include "core/error.h"
#include "stream/mds_shard.h"
#include "stream/row_reader.h"

namespace microdit::stream {
namespace {

constexpr std::size_t kMaxOpenFiles = 128;
constexpr int kMissing = -1;

int column_of(const MdsColumns& columns, const std::string& name) {
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (columns[i].name == name) return static_cast<int>(i);
  return kMissing;
}

std::string names_of(const MdsColumns& columns) {
  std::string all;
  for (const MdsColumn& column : columns) all += (all.empty() ? "" : ", ") + column.name;
  return all;
}

/// Places of the wanted columns in one set of columns.
struct Wanted {
  int latents = kMissing, text = kMissing, caption = kMissing;
};

/// Halves from `values`, which hold `count` halves or floats.
void copy_halves(const MdsNumbers& numbers, std::size_t count, std::byte* out, const std::string& where) {
  const std::size_t bytes = numbers.values.size();
  if (bytes == count * 2 && (numbers.dtype.empty() || numbers.dtype == "float16")) {
    std::memcpy(out, numbers.values.data(), bytes);
  } else if (bytes == count * 4 && (numbers.dtype.empty() || numbers.dtype == "float32")) {
    for (std::size_t i = 0; i < count; ++i) {
      float value = 0;
      std::memcpy(&value, numbers.values.data() + i * 4, 4);
      const std::uint16_t half = core::float_to_half(value);
      std::memcpy(out + i * 2, &half, 2);
    }
  } else {
    core::user_error("{} holds {} bytes{}; {} values of float16 or float32 are wanted", where, bytes,
                     numbers.dtype.empty() ? "" : " of " + numbers.dtype, count);
  }
}

class MdsSource : public RowSource {
 public:
  MdsSource(const MdsConfig& config, const MdsOpening& opening)
      : config_(config),
        index_(read_mds_index(config.folder, opening.once)),
        table_(index_, opening),
        reader_(std::make_shared<OpenFiles>(kMaxOpenFiles, true), ReadRules{0, true, true}) {
    files_.resize(index_.shards.size());
    for (std::size_t i = 0; i < files_.size(); ++i) {
      files_[i].id = i;
      files_[i].path = table_.file(i);
    }
    find_columns();
    find_shape();
    facts_ = config.facts;
    facts_["caption_sources"] = {config.caption};
  }

  std::string name() const override { return config_.folder.string(); }
  std::int64_t num_samples() const override { return index_.num_samples; }
  const RowShape& shape() const override { return shape_; }
  const core::Json& facts() const override { return facts_; }
  core::Json pin() const override { return {{"sha256", index_.sha256}, {"rows", index_.num_samples}}; }
  void read(std::span<RowWish> wishes) const override;
  std::vector<std::filesystem::path> files() const override {
    std::vector<std::filesystem::path> all;
    for (const FileName& file : files_) all.push_back(file.path);
    return all;
  }

 private:
  void find_columns();
  void find_shape();
  std::vector<std::byte> sample_bytes(const MdsPlace& place) const;
  std::string where(const MdsPlace& place, std::int64_t sample) const;
  void take(RowWish& wish, const MdsPlace& place, std::span<const std::byte> bytes) const;
  std::exception_ptr named(const RowRequest& request, const MdsPlace& place, std::int64_t sample) const;

  MdsConfig config_;
  MdsIndex index_;
  MdsTable table_;
  std::vector<Wanted> wanted_;  // of each set of columns
  RowShape shape_;
  core::Json facts_;
  std::vector<FileName> files_;  // of each shard
  RowReader reader_;
};

void MdsSource::find_columns() {
  std::string latents = config_.latents;
  if (const std::size_t at = latents.find("{size}"); at != latents.npos)
    latents.replace(at, 6, std::to_string(config_.size));
  config_.latents = latents;
  for (const MdsColumns& columns : index_.columns) {
    const Wanted wanted{column_of(columns, latents), column_of(columns, config_.text),
                        column_of(columns, config_.caption)};
    for (const auto& [place, column, key] :
         {std::tuple(wanted.latents, latents, "latents"), std::tuple(wanted.text, config_.text, "text")})
      if (place == kMissing)
        core::user_error("{}: has no column `{}` (it has {}); name the right one: columns: {{{}: NAME}}",
                         name(), column, names_of(columns), key);
    wanted_.push_back(wanted);
  }
}

// Whole numbers that divide what the first sample holds; what it does not say must be given.
void MdsSource::find_shape() {
  const MdsPlace place = table_.at(0);
  const MdsColumns& columns = index_.columns[place.shard->columns];
  const Wanted& wanted = wanted_[place.shard->columns];
  const std::vector<std::byte> bytes = sample_bytes(place);
  const auto values = split_mds_sample(bytes, columns, where(place, 0));
  const auto numbers = [&](int column) {
    const std::size_t i = static_cast<std::size_t>(column);
    return mds_numbers(values[i], columns[i], where(place, 0));
  };
  const auto count = [](const MdsNumbers& of) {
    return static_cast<std::int64_t>(of.values.size() / (of.dtype == "float32" ? 4 : 2));
  };
  shape_.latent_size = config_.size / config_.downscale;
  const std::int64_t pixels = shape_.latent_size * shape_.latent_size;
  const std::int64_t latents = count(numbers(wanted.latents));
  shape_.channels = config_.channels > 0 ? config_.channels : latents / std::max<std::int64_t>(pixels, 1);
  if (shape_.channels <= 0 || (config_.channels == 0 && shape_.channels * pixels != latents))
    core::user_error(
        "{}: column `{}` holds {} values a sample, not a whole number of {} x {} planes; is it of size {}?",
        name(), config_.latents, latents, shape_.latent_size, shape_.latent_size, config_.size);
  const MdsNumbers text = numbers(wanted.text);
  std::int64_t length = config_.text_length, width = config_.text_width;
  if (text.shape.size() >= 2) {
    if (length == 0) length = text.shape[text.shape.size() - 2];
    if (width == 0) width = text.shape.back();
  }
  if (length == 0 && width > 0) length = count(text) / width;
  if (width == 0 && length > 0) width = count(text) / length;
  if (length <= 0 || width <= 0)
    core::user_error(
        "{}: column `{}` holds {} values a sample and does not say how many per token; give "
        "data.text_encoder, or "
        "model.caption_channels (micro_diffusion's folders: 1024)",
        name(), config_.text, count(text));
  if (length * width != count(text))
    core::user_error("{}: column `{}` holds {} values a sample, not {} tokens of {}", name(), config_.text,
                     count(text), length, width);
  shape_.text_length = length;
  shape_.text_width = width;
  // The first sample must fit; every other is checked as it is read.
  std::vector<std::byte> scratch(shape_.latents_bytes() + shape_.text_bytes());
  RowWish wish;
  wish.latents = scratch.data();
  wish.text = scratch.data() + shape_.latents_bytes();
  take(wish, place, bytes);
}

std::string MdsSource::where(const MdsPlace& place, std::int64_t sample) const {
  return fmt::format("{}: sample {}", table_.file(place.shard_number).string(), sample - place.shard->first);
}

std::vector<std::byte> MdsSource::sample_bytes(const MdsPlace& place) const {
  std::vector<std::byte> bytes(place.end - place.begin);
  OpenFile(table_.file(place.shard_number), true).read(place.begin, bytes);
  return bytes;
}

void MdsSource::take(RowWish& wish, const MdsPlace& place, std::span<const std::byte> bytes) const {
  const std::string here = where(place, wish.sample);
  const MdsColumns& columns = index_.columns[place.shard->columns];
  const Wanted& wanted = wanted_[place.shard->columns];
  const auto values = split_mds_sample(bytes, columns, here);
  const auto halves = [&](int column, std::size_t count, std::byte* out) {
    const std::size_t i = static_cast<std::size_t>(column);
    copy_halves(mds_numbers(values[i], columns[i], here), count, out,
                fmt::format("{}: column `{}`", here, columns[i].name));
  };
  halves(wanted.latents, shape_.latents_bytes() / 2, wish.latents);
  wish.no_caption = wish.drop_caption;
  if (wish.drop_caption) return;
  if (wish.text != nullptr) halves(wanted.text, shape_.text_bytes() / 2, wish.text);
  wish.text_length = static_cast<std::int32_t>(shape_.text_length);
  if (wish.caption == nullptr || wanted.caption == kMissing) return;
  const std::span<const std::byte> text = values[static_cast<std::size_t>(wanted.caption)];
  wish.caption->assign(reinterpret_cast<const char*>(text.data()), text.size());
}

std::exception_ptr MdsSource::named(const RowRequest& request, const MdsPlace& place,
                                    std::int64_t sample) const {
  try {
    std::rethrow_exception(request.bad);
  } catch (const BadRow&) {
    return std::make_exception_ptr(
        BadRow(fmt::format("{}: its bytes are not those whose hashes were checked; run `doctor verify {}`",
                           where(place, sample), name())));
  } catch (...) {
    return request.bad;
  }
}

// Samples are read whole: neighbours lie one behind the other, so that one call brings them all.
void MdsSource::read(std::span<RowWish> wishes) const {
  std::vector<MdsPlace> places;
  std::size_t bytes = 0;
  for (const RowWish& wish : wishes) {
    places.push_back(table_.at(wish.sample));
    bytes += places.back().end - places.back().begin;
  }
  const std::unique_ptr<std::byte[]> samples(new std::byte[bytes]);  // not zeroed
  std::vector<RowRequest> requests;
  std::byte* out = samples.get();
  for (std::size_t i = 0; i < wishes.size(); ++i) {
    const MdsPlace& place = places[i];
    RowRequest request;
    request.file = &files_[place.shard_number];
    request.offset = place.begin;
    request.bytes = place.end - place.begin;
    request.out = out;
    request.hash = place.hash ? &*place.hash : nullptr;
    request.wish = i;
    out += request.bytes;
    requests.push_back(request);
  }
  reader_.read(requests);
  for (const RowRequest& request : requests) {
    RowWish& wish = wishes[request.wish];
    const MdsPlace& place = places[request.wish];
    wish.bad = request.bad ? named(request, place, wish.sample) : nullptr;
    if (wish.bad) continue;
    try {
      take(wish, place, {request.out, request.bytes});
    } catch (const core::UserError&) {
      wish.bad = std::current_exception();
    }
  }
}

}  // namespace

std::unique_ptr<RowSource> open_mds(const MdsConfig& config, const MdsOpening& opening) {
  core::check(config.size > 0 && config.downscale > 0, "an MDS source of size {}", config.size);
  return std::make_unique<MdsSource>(config, opening);
}

}  // namespace microdit::stream
