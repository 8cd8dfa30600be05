// Rows of shards -> members of tars.
#include "ingest/webdataset.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"
#include "image/decode.h"
#include "ingest/samples_shard.h"
#include "ingest/tar_file.h"
#include "store/manifest.h"
#include "store/shard.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
using core::Json;

constexpr const char* kNote = "webdataset.json";
constexpr std::size_t kLongestStem = 64;  // leaves a ustar name room for row and field

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

const char* split_name(std::uint8_t split) {
  return split == 0 ? "train" : "held_out";
}

/// A key has no dot: WebDataset cuts there. Long and strange names are told apart by a hash.
std::string key_of(const std::string& item, std::int64_t row) {
  std::string stem = item;
  for (char& c : stem)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_'))
      c = '_';
  if (stem != item || stem.size() > kLongestStem)
    stem = stem.substr(0, kLongestStem - 17) + "_" + core::hex(core::xxh3_64(bytes_of(item)));
  return fmt::format("{}_{:08}", stem, row);
}

std::string extension(std::span<const std::byte> picture) {
  try {
    switch (image::probe_image(picture).format) {
      case image::Format::png:
        return "png";
      case image::Format::jpeg:
        return "jpg";
      case image::Format::webp:
        return "webp";
      case image::Format::gif:
        return "gif";
      case image::Format::bmp:
        return "bmp";
      case image::Format::tiff:
        return "tif";
      default:
        return "bin";
    }
  } catch (const image::BadImage&) {
    return "bin";
  }
}

/// numpy's file format, version 1.0.
void add_array(TarFile& tar, const std::string& name, const char* dtype,
               const std::vector<std::int64_t>& shape, std::span<const std::byte> values) {
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({},), }}", dtype,
                                   fmt::join(shape, ", "));
  constexpr std::size_t kBefore = 10, kAlign = 64;
  header.append((kAlign - (kBefore + header.size() + 1) % kAlign) % kAlign, ' ');
  header += '\n';
  std::string file = std::string("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 0xff);
  file += static_cast<char>(header.size() >> 8);
  file += header;
  file.append(reinterpret_cast<const char*>(values.data()), values.size());
  tar.add(name, bytes_of(file));
}

// --- samples ---------------------------------------------------------------------------------------

void export_samples(const fs::path& folder, const store::ShardEntry& entry, const std::string& item,
                    const std::vector<std::string>& sources, TarFile& tar) {
  const SamplesShard shard(folder, entry, SamplesUse::pictures);
  const std::vector<std::uint8_t> splits = shard.splits();
  std::vector<std::vector<std::string>> captions;
  for (const std::string& source : sources)
    captions.push_back(store::read_strings(shard.reader(), "caption." + source));
  for (std::int64_t row = 0; row < shard.rows(); ++row) {
    const auto at = static_cast<std::size_t>(row);
    const std::string key = key_of(item, row);
    const std::vector<std::byte> picture = shard.picture(row);
    Json said = Json::object();
    std::string first;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (captions[i][at].empty()) continue;
      said[sources[i]] = captions[i][at];
      if (first.empty()) first = captions[i][at];
    }
    const Json json = {{"key", shard.keys()[at]},
                       {"width", shard.widths()[at]},
                       {"height", shard.heights()[at]},
                       {"split", split_name(splits[at])},
                       {"captions", said}};
    tar.add(key + "." + extension(picture), picture);
    tar.add(key + ".txt", bytes_of(first));
    tar.add(key + ".json", bytes_of(json.dump()));
  }
}

// --- latents ---------------------------------------------------------------------------------------

/// One size of the pictures of a shard.
struct SizeColumn {
  std::string name;
  std::vector<std::int64_t> shape;  ///< of a row
  std::vector<std::int32_t> rows;   ///< of each sample, -1 = skipped
  std::vector<std::byte> values;
};

SizeColumn size_column(const store::ShardReader& images, const std::string& name, std::size_t samples) {
  SizeColumn column{name, images.column(name).shape, images.read_as<std::int32_t>(name + "_row"),
                    images.read(name)};
  const std::int64_t rows = column.shape.front();
  column.shape.erase(column.shape.begin());
  if (column.rows.size() != samples || std::any_of(column.rows.begin(), column.rows.end(),
                                                   [&](std::int32_t row) { return row < -1 || row >= rows; }))
    core::user_error("{}: `{}_row` does not fit its {} samples; run doctor verify {}", images.path().string(),
                     name, samples, images.path().parent_path().string());
  return column;
}

/// The text rows of a shard as f16; empty where it holds tokens only.
std::vector<std::byte> text_rows(const store::ShardReader& text) {
  if (!text.has("text")) return {};
  if (text.column("text").dtype == core::DType::f16) return text.read("text");
  const auto values = text.read_as<std::int8_t>("text");
  const auto scales = text.read_as<float>("text_scale");
  const std::size_t width = values.size() / std::max<std::size_t>(scales.size(), 1);
  std::vector<std::byte> halves(values.size() * 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t half = core::float_to_half(static_cast<float>(values[i]) * scales[i / width]);
    std::memcpy(&halves[i * 2], &half, 2);
  }
  return halves;
}

/// A shard's captions, and which belong to a sample.
class Captions {
 public:
  Captions(const store::ShardReader& text, std::size_t samples, std::vector<std::string> sources)
      : sources_(std::move(sources)),
        strings_(store::read_strings(text, "text_caption")),
        ids_(text.read("text_ids")),
        values_(text_rows(text)),
        offsets_(text.read_as<std::int64_t>("caption_offsets")),
        rows_(text.read_as<std::int32_t>("caption_rows")),
        source_(text.read_as<std::uint8_t>("caption_source")),
        length_(text.column("text_ids").shape.at(1)) {
    const auto rows = static_cast<std::int64_t>(rows_.size());
    bool fits = offsets_.size() == samples + 1 && std::is_sorted(offsets_.begin(), offsets_.end()) &&
                offsets_.front() == 0 && offsets_.back() == rows && source_.size() == rows_.size();
    for (const std::int32_t row : rows_) fits = fits && row >= 0 && row < std::ssize(strings_);
    for (const std::uint8_t source : source_) fits = fits && source < sources_.size();
    if (!fits)
      core::user_error("{}: its captions do not fit its {} samples; run doctor verify {}",
                       text.path().string(), samples, text.path().parent_path().string());
  }

  /// Adds the sample's members; returns what its JSON says of them.
  Json add(TarFile& tar, const std::string& key, std::size_t sample) const {
    Json said = Json::array();
    std::vector<std::byte> values, ids;
    std::string first;
    for (auto i = static_cast<std::size_t>(offsets_[sample]);
         i < static_cast<std::size_t>(offsets_[sample + 1]); ++i) {
      const auto row = static_cast<std::size_t>(rows_[i]);
      if (said.empty()) first = strings_[row];
      said.push_back({{"source", sources_[source_[i]]}, {"text", strings_[row]}});
      append(values_, row, values);
      append(ids_, row, ids);
    }
    const auto count = static_cast<std::int64_t>(said.size());
    if (count > 0 && !values.empty()) {
      const auto width = static_cast<std::int64_t>(values.size()) / (2 * count * length_);
      add_array(tar, key + ".text.npy", "<f2", {count, length_, width}, values);
    }
    if (count > 0) add_array(tar, key + ".text_ids.npy", "<i4", {count, length_}, ids);
    tar.add(key + ".txt", bytes_of(first));
    return said;
  }

 private:
  void append(const std::vector<std::byte>& all, std::size_t row, std::vector<std::byte>& to) const {
    const std::size_t bytes = all.size() / std::max<std::size_t>(strings_.size(), 1);
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(row * bytes);
    to.insert(to.end(), begin, begin + static_cast<std::ptrdiff_t>(bytes));
  }
  std::vector<std::string> sources_, strings_;
  std::vector<std::byte> ids_, values_;
  std::vector<std::int64_t> offsets_;
  std::vector<std::int32_t> rows_;
  std::vector<std::uint8_t> source_;
  std::int64_t length_;
};

void export_latents(const fs::path& folder, const Json& facts, const std::string& item, std::int64_t samples,
                    TarFile& tar) {
  const store::ShardReader images(folder / (item + ".images.h5")), text(folder / (item + ".text.h5"));
  const auto count = static_cast<std::size_t>(samples);
  std::vector<SizeColumn> sizes;
  for (const Json& size : facts.at("sizes"))
    sizes.push_back(size_column(images, fmt::format("latents_{}", size.get<std::int64_t>()), count));
  const Captions captions(text, count, facts.at("caption_sources").get<std::vector<std::string>>());
  const auto widths = images.read_as<std::int32_t>("width"), heights = images.read_as<std::int32_t>("height");
  const auto splits = images.read_as<std::uint8_t>("split");
  const std::vector<std::string> keys = store::read_strings(images, "key");
  if (widths.size() != count || heights.size() != count || splits.size() != count || keys.size() != count)
    core::user_error("{}: its columns do not have the {} rows that its record says", images.path().string(),
                     samples);
  for (std::size_t row = 0; row < count; ++row) {
    const std::string key = key_of(item, static_cast<std::int64_t>(row));
    for (const SizeColumn& size : sizes) {
      if (size.rows[row] < 0) continue;
      std::size_t bytes = 2;
      for (const std::int64_t extent : size.shape) bytes *= static_cast<std::size_t>(extent);
      add_array(tar, key + "." + size.name + ".npy", "<f2", size.shape,
                std::span(size.values).subspan(static_cast<std::size_t>(size.rows[row]) * bytes, bytes));
    }
    const Json said = captions.add(tar, key, row);
    const Json json = {{"key", keys[row]},
                       {"width", widths[row]},
                       {"height", heights[row]},
                       {"split", split_name(splits[row])},
                       {"captions", said}};
    tar.add(key + ".json", bytes_of(json.dump()));
  }
}

// --- the folder ------------------------------------------------------------------------------------

/// Says what the tars are of; one that is there must say the same.
void write_note(const store::Manifest& manifest, const fs::path& output) {
  const Json note = {{"format", "webdataset"},
                     {"generation", manifest.generation},
                     {"manifest_sha256", manifest.sha256},
                     {"facts", manifest.facts}};
  const fs::path path = output / kNote;
  if (!fs::exists(path)) {
    fs::create_directories(output);
    if (!fs::is_empty(output))
      core::user_error("convert: --output {}: is not empty; name a new folder", output.string());
    core::write_json(path, note);
  } else if (core::read_json(path) != note) {
    core::user_error(
        "convert: --output {}: was made of another folder or generation than {}; name a new folder, or rm -r "
        "{}",
        output.string(), manifest.folder.string(), output.string());
  }
}

bool ends(const std::string& text, std::string_view end) {
  return text.ends_with(end);
}

}  // namespace

WebDatasetExport export_webdataset(const fs::path& folder, const fs::path& output) {
  const store::Manifest manifest = store::Manifest::read(folder);
  const std::string stage = manifest.facts.value("stage", "");
  if (stage != "samples" && stage != "latents")
    core::user_error("convert: --input {}: holds `{}`; samples and latents become WebDataset",
                     folder.string(), stage);
  if (fs::exists(output)) core::remove_stale_temporaries(output);
  write_note(manifest, output);
  WebDatasetExport done;
  const std::vector<store::ShardEntry> shards = manifest.shards();
  for (const store::ShardEntry& entry : shards) {
    if (stage == "latents" && !ends(entry.file, ".images.h5")) continue;
    const std::string item = entry.file.substr(0, entry.file.size() - (stage == "latents" ? 10 : 3));
    const fs::path path = output / (item + ".tar");
    ++done.shards;
    done.samples += entry.rows;
    if (fs::exists(path)) {
      ++done.kept;
      continue;
    }
    TarFile tar(path);
    if (stage == "samples")
      export_samples(folder, entry, item,
                     manifest.facts.at("caption_sources").get<std::vector<std::string>>(), tar);
    else
      export_latents(folder, manifest.facts, item, entry.rows, tar);
    tar.publish();
    core::log_info("{}: {} samples ({} of {} shards)", path.string(), entry.rows, done.shards,
                   stage == "latents" ? shards.size() / 2 : shards.size());
  }
  return done;
}

}  // namespace microdit::ingest
