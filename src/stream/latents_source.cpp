// Opening a folder: manifest and index to counts. Reading is in latents_read.cpp.
#include "stream/latents_source.h"

#include <algorithm>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "store/manifest.h"
#include "store/manifest_head.h"

namespace microdit::stream {
namespace {

namespace fs = std::filesystem;
using store::LatentFile;
// About 37 B a sample: of 7 million. Beyond, a run of 32 rows reads its shard's small columns once more, whole, since their hashes
// are of whole columns: about 100 B for each row of the shard, from the kernel's memory where it keeps them.
constexpr std::size_t kRowsCacheBytes = 256 << 20;

/// Rank 0's part: the manifest's facts and hash, and the index that belongs to it, as one text.
std::string read_folder(const FolderOptions& options) {
  const fs::path& folder = options.folder;
  const fs::path file =
      folder /
      (options.generation > 0 ? fmt::format("manifest.{}.jsonl", options.generation) : "manifest.jsonl");
  if (!fs::exists(file)) {
    store::Manifest::read(folder, options.generation);  // says what is missing, and who makes it
    core::user_error("{}: is missing; run precompute", file.string());
  }
  const store::ManifestHead head = store::read_manifest_head(core::read_text(file), file.string());
  const core::Json facts = core::parse_json(head.facts, file.string());
  if (facts.value("format", core::Json()) != store::kFormat)
    store::Manifest::read(folder, options.generation);  // says so
  const fs::path index_file = folder / store::index_name(head.generation);
  if (!fs::exists(index_file))
    core::user_error("{}: is missing; run precompute again, which writes it anew", index_file.string());
  std::string index = core::read_text(index_file);
  const store::LatentIndex parsed = store::parse_latent_index(index, index_file.string());
  if (parsed.manifest_sha256 != head.sha256 || parsed.generation != head.generation)
    core::user_error(
        "{}: belongs to another manifest than {}; remove it and run precompute again, which writes it anew",
        index_file.string(), file.string());
  return core::Json{{"facts", facts}, {"index", index_file.string()}}.dump() + "\n" + std::move(index);
}

std::int64_t fact(const core::Json& facts, const std::string& key, const fs::path& folder) {
  if (!facts.contains(key) || !facts[key].is_number_integer() || facts[key].get<std::int64_t>() <= 0)
    core::user_error("{}: its facts lack `{}`; it is not a latents folder", folder.string(), key);
  return facts[key].get<std::int64_t>();
}

}  // namespace

LatentsSource::LatentsSource(const FolderOptions& options, const Once& once, std::shared_ptr<OpenFiles> files,
                             ReadRules rules)
    : options_(options), files_(files), reader_(std::move(files), rules) {
  {
    const std::string text = once([&] { return read_folder(options); });
    const std::size_t line = text.find('\n');
    core::Json head = core::parse_json(std::string_view(text).substr(0, line), "facts of " + name());
    facts_ = std::move(head["facts"]);
    index_ =
        store::parse_latent_index(std::string_view(text).substr(line + 1), head["index"].get<std::string>());
  }
  find_filter();
  check_columns();
  count_samples();
  ids_ = files_->new_ids(2 * index_.shards.size());
  cache_ = std::make_unique<ShardRowsCache>(kRowsCacheBytes);
}

void LatentsSource::find_filter() {
  const auto size = std::find(index_.sizes.begin(), index_.sizes.end(), options_.size);
  if (size == index_.sizes.end())
    core::user_error("{}: has no latents of size {} (it has [{}]); run precompute with that size", name(),
                     options_.size, fmt::join(index_.sizes, ","));
  const auto bound = std::find(index_.bounds.begin(), index_.bounds.end(), options_.min_side);
  if (bound == index_.bounds.end())
    core::user_error("data.min_side: {} is none of the sides that {} is counted by ({})", options_.min_side,
                     name(), fmt::join(index_.bounds, ", "));
  filter_.size = static_cast<std::size_t>(size - index_.sizes.begin());
  filter_.bound = static_cast<std::size_t>(bound - index_.bounds.begin());
  filter_.split = options_.split;
  filter_.verify = options_.verify;
  if (static_cast<std::int64_t>(options_.split) >= index_.splits)
    core::user_error("{}: has no split {}", name(), options_.split);
  choice_ = CaptionChoice(options_.captions, index_.caption_sources, name());
}

void LatentsSource::check_columns() {
  shape_.channels = fact(facts_, "channels", options_.folder);
  shape_.latent_size = options_.size / fact(facts_, "downscale", options_.folder);
  shape_.text_length = fact(facts_, "text_length", options_.folder);
  shape_.text_width = fact(facts_, "text_width", options_.folder);
  if (index_.shards.empty()) return;
  latents_ = index_.column(LatentFile::images, fmt::format("latents_{}", options_.size));
  text_ = index_.column(LatentFile::text, "text");
  scale_ = index_.column(LatentFile::text, "text_scale");
  shape_.tokens_only = text_ < 0;
  if (shape_.tokens_only) text_ = index_.column(LatentFile::text, "text_ids");
  const auto check = [&](int column, core::DType dtype, const std::vector<std::int64_t>& row_shape,
                         std::string_view what) {
    if (column >= 0 && index_.columns[static_cast<std::size_t>(column)].dtype == dtype &&
        index_.columns[static_cast<std::size_t>(column)].row_shape == row_shape)
      return;
    core::user_error("{}: column `{}` is not {} [n, {}] as the folder's facts say; make its shards again",
                     name(), what, core::name_of(dtype), fmt::join(row_shape, ", "));
  };
  const RowShape& s = shape_;
  check(latents_, core::DType::f16, {s.channels, s.latent_size, s.latent_size},
        fmt::format("latents_{}", options_.size));
  if (s.tokens_only)
    check(text_, core::DType::i32, {s.text_length}, "text_ids");
  else
    check(text_, scale_ >= 0 ? core::DType::i8 : core::DType::f16, {s.text_length, s.text_width}, "text");
  if (scale_ >= 0) check(scale_, core::DType::f32, {s.text_length}, "text_scale");
}

void LatentsSource::count_samples() {
  first_ = {0};
  std::int64_t rows = 0;
  std::vector<std::int64_t> captioned(index_.caption_sources.size(), 0);
  for (const store::IndexedShard& shard : index_.shards) {
    first_.push_back(first_.back() + index_.rows_of(shard, filter_.size, filter_.split, filter_.bound));
    rows += shard.rows;
    for (std::size_t i = 0; i < captioned.size(); ++i) captioned[i] += shard.captioned[i];
  }
  num_samples_ = first_.back();
  if (!options_.text || !choice_.restricts() || num_samples_ == 0) return;
  // Exact for one wanted source; several may share samples.
  std::int64_t most = 0;
  std::size_t wanted = 0;
  for (std::size_t i = 0; i < captioned.size(); ++i) {
    if (!choice_.wants(i)) continue;
    ++wanted;
    most = std::max(most, captioned[i]);
  }
  if (most == 0)
    core::user_error("captions: no sample of {} has one of {}", name(),
                     fmt::join(options_.captions.names, ", "));
  if (wanted == 1 && most < rows)
    core::log_warn("{}: {} of {} samples have no caption of `{}`; they show the null condition", name(),
                   rows - most, rows, options_.captions.names[0]);
}

core::Json LatentsSource::pin() const {
  return {{"generation", index_.generation}, {"sha256", index_.manifest_sha256}, {"rows", num_samples_}};
}

std::vector<std::filesystem::path> LatentsSource::files() const {
  std::vector<std::filesystem::path> all;
  for (std::size_t shard = 0; shard < index_.shards.size(); ++shard)
    for (const LatentFile which : {LatentFile::images, LatentFile::text}) {
      if (which == LatentFile::text && !options_.text) continue;
      all.push_back(file(shard, which).path);
    }
  return all;
}

FileName LatentsSource::file(std::size_t shard, LatentFile which) const {
  const store::IndexedShard& s = index_.shards[shard];
  const auto i = static_cast<std::size_t>(which);
  const std::string file = s.file(which);
  return {ids_ + 2 * shard + i, options_.folder / file, core::hex(s.file_sha[i]) + "-" + file,
          s.file_bytes[i]};
}

}  // namespace microdit::stream
