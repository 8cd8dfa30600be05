// decode pool -> bounded queue -> batches through the encoder -> columns -> shard.
#include "ingest/latent_maker.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "ingest/caption_table.h"
#include "ingest/encode_images.h"
#include "ingest/picture_feed.h"
#include "ingest/samples_shard.h"
#include "ingest/skips.h"
#include "store/latent_index.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
constexpr const char* kClassColumn = "column.class";  ///< of samples (labelled.h)

/// Each value `times` times: those of the samples that a picture is.
template <class T>
std::vector<T> each(const std::vector<T>& values, std::int64_t times) {
  std::vector<T> all;
  all.reserve(values.size() * static_cast<std::size_t>(times));
  for (const T& value : values) all.insert(all.end(), static_cast<std::size_t>(times), value);
  return all;
}

/// The numbers of the samples' classes, -1 where there is none; empty where the shard has no such column.
std::vector<std::int32_t> classes_of(const SamplesShard& shard) {
  const store::ShardReader& reader = shard.reader();
  if (!reader.has(kClassColumn)) return {};
  std::vector<std::int32_t> classes;
  for (const double value : reader.read_as<double>(kClassColumn)) {
    const bool none = std::isnan(value) || value == -1;  // as the hub writes "no label"
    if (!none && !(value >= 0 && value < 2147483648.0 && value == std::floor(value)))
      core::user_error("{}: `{}` holds {}, which is no number of a class", reader.path().string(),
                       kClassColumn, value);
    classes.push_back(none ? -1 : static_cast<std::int32_t>(value));
  }
  return classes;
}

/// What an images shard holds beside its latents. A mirror image's key is its picture's and "#flip".
void add_picture_columns(const ImageRecipe& recipe, const SamplesShard& shard,
                         store::ShardContents& contents) {
  const std::int64_t times = recipe.samples_per_picture();
  contents.columns.push_back(store::make_column("width", core::DType::i32, each(shard.widths(), times)));
  contents.columns.push_back(store::make_column("height", core::DType::i32, each(shard.heights(), times)));
  contents.columns.push_back(store::make_column("split", core::DType::u8, each(shard.splits(), times)));
  if (const std::vector<std::int32_t> classes = classes_of(shard); !classes.empty())
    contents.columns.push_back(store::make_column("class", core::DType::i32, each(classes, times)));
  std::vector<std::string> keys = each(shard.keys(), times);
  if (recipe.flips)
    for (std::size_t i = 1; i < keys.size(); i += 2) keys[i] += "#flip";
  store::add_strings(contents, "key", keys);
}

store::SampleLayout images_layout(const ImageRecipe& recipe, bool with_classes) {
  store::SampleLayout layout;
  layout.fixed = {"width", "height", "split"};
  if (with_classes) layout.fixed.push_back("class");
  layout.variable = {"key"};
  for (const std::int64_t size : recipe.sizes) layout.optional.push_back(fmt::format("latents_{}", size));
  return layout;
}

/// The columns latents_<size>_row: where a picture's latents lie, -1 = it has none.
class LatentRows {
 public:
  LatentRows(const ImageRecipe& recipe, const SamplesShard& shard, std::string item,
             double max_damaged_fraction)
      : recipe_(recipe),
        shard_(shard),
        item_(std::move(item)),
        max_damaged_fraction_(max_damaged_fraction),
        rows_(recipe.sizes.size()) {}

  /// The next row's picture, to the encoder and to its places. UserError when too many gave out.
  void add(const PictureFeed::Picture& picture, ImageEncoder& encoder) {
    const PictureResult& prepared = picture.prepared;
    const std::string& key = shard_.keys()[static_cast<std::size_t>(picture.row)];
    const bool failed = gave_out(prepared);
    if (failed) count_failed(prepared, key);
    const std::int64_t times = recipe_.samples_per_picture();
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const bool skipped = !recipe_.enlarge && recipe_.sizes[i] > shard_.shorter_side(picture.row);
      if (failed) {
        if (!skipped) encoder.keep_place(recipe_.sizes[i]);
        rows_[i].insert(rows_[i].end(), static_cast<std::size_t>(times), -1);
        continue;
      }
      const image::Image& square = prepared.squares[i];
      core::check(skipped == square.pixels.empty(), "size {} of row {} was {}", recipe_.sizes[i], picture.row,
                  skipped ? "prepared" : "left out");
      const std::int32_t first = skipped ? -1 : encoder.add(square, key, picture.content);
      for (std::int32_t t = 0; t < times; ++t) rows_[i].push_back(skipped ? -1 : first + t);
    }
  }

  /// Adds the columns to those of the latents; returns the record's details.
  core::Json finish(store::ShardContents& contents) const {
    core::Json counts = core::Json::object();
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      counts[std::to_string(recipe_.sizes[i])] = contents.columns[i].shape[0];
      contents.columns.push_back(
          store::make_column(fmt::format("latents_{}_row", recipe_.sizes[i]), core::DType::i32, rows_[i]));
    }
    return {{"latents", std::move(counts)}, {"failed_pictures", failed_.to_json()}};
  }

 private:
  void count_failed(const PictureResult& prepared, const std::string& key) {
    failed_.add(prepared.reason, key);
    core::log_warn("precompute: {}: the picture of '{}' gets no latents: {} ({})", item_, key,
                   prepared.reason, prepared.detail);
    if (static_cast<double>(failed_.total()) <= max_damaged_fraction_ * static_cast<double>(shard_.rows()))
      return;
    core::user_error(
        "{}: pictures of it that clean accepted cannot be decoded here ({}), more of its {} than "
        "filters.max_damaged_fraction = {} allows: run precompute again on another machine, or raise it",
        shard_.reader().path().string(), failed_.text(), shard_.rows(), max_damaged_fraction_);
  }

  const ImageRecipe& recipe_;
  const SamplesShard& shard_;
  std::string item_;
  double max_damaged_fraction_;
  std::vector<std::vector<std::int32_t>> rows_;
  Skips failed_;
};

}  // namespace

LatentMaker::LatentMaker(const CatalogueEntry& entry, const PrecomputePlan& plan, torch::Device device,
                         bool images, bool text, const core::StopFlag& stop)
    : entry_(entry), plan_(plan), device_(device) {
  at::set_num_threads(static_cast<int>(entry.threads_per_rank));
  if (images) {
    codec_ = encoders::load_image_codec(plan.recipe.images.codec, plan.codec.sha256, stop);
    codec_->to(device);
    codec_->set_precision(plan.recipe.images.precision);
    pool_ =
        std::make_unique<PicturePool>(entry.pictures, entry.decode_workers, limits::kSquaresSeconds, &stop);
  }
  if (text) text_ = std::make_unique<CaptionEncoder>(plan.recipe.text, device, plan.text.sha256, stop);
}

std::optional<store::Record> LatentMaker::make(const LatentItem& item, Progress& progress,
                                               const core::StopFlag& stop) {
  const c10::OptionalDeviceGuard guard(device_);  // a thread's own current GPU
  try {
    return item.part == LatentPart::images ? make_images(item, progress, stop)
                                           : make_text(item, progress, stop);
  } catch (const SamplesShard::Stopped&) {
    return std::nullopt;
  }
}

std::unique_lock<std::mutex> LatentMaker::take_encoders() {
  std::unique_lock lock(encoders_);
  at::set_num_threads(static_cast<int>(entry_.threads_per_rank));  // torch keeps it per thread
  return lock;
}

std::optional<store::Record> LatentMaker::make_images(const LatentItem& item, Progress& progress,
                                                      const core::StopFlag& stop) {
  const ImageRecipe& recipe = plan_.recipe.images;
  const SamplesShard shard = [&] {
    const TimeShares::Scope scope(times_, Spent::read);
    return SamplesShard(plan_.samples.folder, item.samples, SamplesUse::pictures, "", stop);
  }();
  PictureFeed feed(shard, recipe, *pool_);
  LatentRows rows(recipe, shard, item.item.name, entry_.filters.max_damaged_fraction);
  store::ShardContents contents;
  {
    const auto lock = take_encoders();
    ImageEncoder encoder(recipe, *codec_, device_);
    for (std::int64_t row = 0; row < shard.rows(); ++row) {
      if (stop.requested()) return std::nullopt;
      const PictureFeed::Picture picture = [&] {
        const TimeShares::Scope scope(times_, Spent::wait);
        return feed.next();
      }();
      if (picture.prepared.reason == "stopped") return std::nullopt;
      times_.add(Spent::decode, picture.prepared.decode_s);
      times_.add(Spent::resize, picture.prepared.resize_s);
      const TimeShares::Scope scope(times_, Spent::encode);
      rows.add(picture, encoder);
      ++pictures_;
      progress.add(1);
    }
    const TimeShares::Scope scope(times_, Spent::encode);
    contents.columns = encoder.finish();
  }
  core::Json details = rows.finish(contents);
  add_picture_columns(recipe, shard, contents);
  store::ShardWriter file(plan_.folder / item.file());
  return publish(item, file, contents, images_layout(recipe, shard.reader().has(kClassColumn)),
                 std::move(details), stop);
}

std::optional<store::Record> LatentMaker::make_text(const LatentItem& item, Progress& progress,
                                                    const core::StopFlag& stop) {
  CaptionTable captions = [&] {
    const TimeShares::Scope scope(times_, Spent::read);
    return tabulate_captions(
        SamplesShard(plan_.samples.folder, item.samples, SamplesUse::captions, item.fingerprint, stop),
        plan_.caption_sources());
  }();
  if (plan_.recipe.images.flips) captions.double_samples();
  const std::optional<encoders::TokenRows> tokens = [&] {  // while another item has the encoders
    const TimeShares::Scope scope(times_, Spent::read);
    return text_->tokenize(captions.unique, stop);
  }();
  if (!tokens) return std::nullopt;
  const std::vector<store::Column> states = text_->states(captions.unique.size());
  store::ShardWriter shard(plan_.folder / item.file(), states);
  std::optional<TextColumns> text = [&] {
    const auto lock = take_encoders();
    const TimeShares::Scope scope(times_, Spent::encode);
    const auto append = [&](std::span<const std::byte> rows) { shard.append("text", rows); };
    return text_->encode(captions.unique, *tokens, append, stop);
  }();
  if (!text) return std::nullopt;
  captions_ += static_cast<std::int64_t>(captions.unique.size());
  progress.add(static_cast<double>(captions.unique.size()));
  store::ShardContents contents;
  store::SampleLayout layout;
  layout.via_offsets = "caption_offsets";
  layout.via_index = "caption_rows";
  if (!states.empty()) text->columns.insert(text->columns.begin(), shard.written("text"));
  for (store::Column& column : text->columns) {
    if (column.name != "text_length") layout.shared.push_back(column.name);
    contents.columns.push_back(std::move(column));
  }
  contents.columns.push_back(store::make_column("caption_offsets", core::DType::i64, captions.offsets));
  contents.columns.push_back(store::make_column("caption_rows", core::DType::i32, captions.rows));
  contents.columns.push_back(store::make_column("caption_source", core::DType::u8, captions.sources));
  store::add_strings(contents, "text_caption", captions.unique);
  return publish(item, shard, contents, layout, std::move(text->details), stop);
}

std::optional<store::Record> LatentMaker::publish(const LatentItem& item, store::ShardWriter& shard,
                                                  store::ShardContents& contents,
                                                  const store::SampleLayout& layout, core::Json details,
                                                  const core::StopFlag& stop) {
  const TimeShares::Scope scope(times_, Spent::write);
  contents.sample_hashes = store::hash_samples(contents, layout);
  contents.attributes = {{"stage", "latents"},
                         {"format", store::kFormat},
                         {"dataset", entry_.name},
                         {"item", item.item.name},
                         {"layout", store::to_json(layout)}};
  if (item.part == LatentPart::text) contents.attributes["caption_sources"] = plan_.caption_sources();
  const fs::path path = plan_.folder / item.file();
  const std::optional<std::string> sha256 = shard.finish(contents, stop);
  if (!sha256) return std::nullopt;
  return store::Record{item.item.name,
                       {{item.file(), item.samples.rows * plan_.recipe.images.samples_per_picture(),
                         fs::file_size(path), *sha256}},
                       std::move(details),
                       core::read_back([&] { return store::index_notes(path, plan_.facts); })};
}

void LatentMaker::report(double wall_s) const {
  core::log_info("precompute: encoded {} pictures and {} captions in {} ({:.1f} pictures/s): {}",
                 pictures_.load(), captions_.load(), core::duration_text(wall_s),
                 static_cast<double>(pictures_) / wall_s, times_.text(wall_s));
}

}  // namespace microdit::ingest
