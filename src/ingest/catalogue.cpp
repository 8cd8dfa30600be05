// The fields of a catalogue entry, their ranges, and what must hold between them.
#include "ingest/catalogue.h"

#include <algorithm>

#include "core/error.h"

namespace microdit::ingest {
namespace {

bool is_plain_name(std::string_view name) {
  return !name.empty() && name[0] != '.' && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.';
  });
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

void SourceSection::fields(core::Fields& f) {
  f.field("hub", hub, {.help = "dataset repository org/name[@revision] of the hub (MICRODIT_HUB)"});
  f.field("urls", urls, {.help = "http(s):// or file:// addresses; {0000..0007} expands"});
  f.field("list_file", list_file, {.help = "tab-separated file name and URL per line, after a header line"});
  f.field("pattern", pattern, {.help = "files of the hub repository; {0000..0007} expands"});
  f.field("small", small, {.help = "file names of subset small (default: the first 1 %)"});
  f.field("sha256", sha256, {.help = "file name -> known SHA-256"});
  f.field("max_attempts", max_attempts, {.min = 1, .max = 1000, .help = "in a row without a new byte"});
  f.field("backoff_s", backoff_s,
          {.min = 0, .max = 60, .help = "first wait at most, seconds; doubles up to 60 s"});
  f.field("gated", gated, {.help = "needs a token: HF_TOKEN_FILE (mode 0600) or HF_TOKEN"});
  if (!f.reading()) return;
  if (int(!hub.empty()) + int(!urls.empty()) + int(!list_file.empty()) != 1) {
    f.error("hub", "give exactly one of hub, urls and list_file");
  }
  if (!hub.empty() && pattern.empty()) f.error("pattern", "a hub source needs the files' names");
  if (hub.empty() && !pattern.empty()) f.error("pattern", "only a hub source has a pattern");
  for (const auto& [file, digest] : sha256) {
    if (!is_sha256(digest))
      f.error("sha256", fmt::format("{}: '{}' is not 64 lower-case hex digits", file, digest));
  }
}

void RecordSection::fields(core::Fields& f) {
  f.field("kind", kind,
          {.choices = {"sidecar_text"}, .help = "sidecar_text: members with one stem are one record"});
  f.field("image", image, {.help = "extensions that are pictures, the preferred first"});
  f.field("caption", caption, {.help = "caption source -> txt (a sidecar's text) or json:<key>"});
  if (!f.reading()) return;
  if (image.empty()) f.error("image", "name at least one extension");
  if (caption.empty()) f.error("caption", "name at least one caption source");
  for (const auto& [source, where] : caption) {
    if (!is_plain_name(source))
      f.error("caption", fmt::format("'{}' is no name for a caption source", source));
    const bool json = where.starts_with("json:") && where.size() > 5;
    if (!json && (where.empty() || where.find(':') != std::string::npos)) {
      f.error("caption",
              fmt::format("{}: '{}' is neither an extension such as txt nor json:<key>", source, where));
    }
  }
}

void FilterSection::fields(core::Fields& f) {
  f.field("min_side", min_side, {.min = 0, .max = 65535, .help = "shorter side at least, pixels"});
  f.field("max_skip_fraction", max_skip_fraction,
          {.min = 0, .max = 1, .help = "an archive that loses a larger share of its records fails the job"});
}

void CaptionSection::fields(core::Fields& f) {
  f.field("clean", clean, {.help = "run the caption cleaner"});
  f.field("which", which, {.help = "caption sources to keep, in this order (default: all)"});
}

void SplitSection::fields(core::Fields& f) {
  f.field("held_out", held_out, {.min = 0, .max = 1, .help = "fraction of groups that is never trained on"});
  f.field("group", group,
          {.help = "json:<key>: records of one value stay on one side (default: the record's key)"});
  f.field("seed", seed, {.min = 0, .help = "another draw of the same fraction"});
  if (f.reading() && !group.empty() && (!group.starts_with("json:") || group.size() == 5)) {
    f.error("group", fmt::format("'{}' is not json:<key>", group));
  }
}

void LatentSection::fields(core::Fields& f) {
  f.field("sizes", sizes, {.min = 8, .max = 8192, .help = "picture sizes, pixels"});
  f.field("codec", codec, {.help = "folder of an AutoencoderKL in the diffusers layout"});
  f.field("codec_latent", codec_latent,
          {.choices = {"mean", "sample"}, .help = "the posterior's mean or one sample"});
  f.field("text_encoder", text_encoder, {.help = "folder of the text encoder"});
  f.field("text_length", text_length, {.min = 1, .max = 4096, .help = "token rows per caption"});
  f.field("batch_size", batch_size, {.min = 1, .max = 4096, .help = "pictures or captions per encoder call"});
  f.field("seed", seed, {.min = 0, .help = "of codec_latent sample"});
  if (!f.reading()) return;
  if (sizes.empty()) f.error("sizes", "name at least one size");
  if (!std::ranges::is_sorted(sizes, std::less_equal<>())) f.error("sizes", "must ascend, each once");
}

void CatalogueEntry::fields(core::Fields& f) {
  f.field("name", name,
          {.max = 200, .required = true, .help = "of its folders under raw/, samples/ and latents/"});
  f.section("source", source);
  f.field("archive", archive, {.choices = {"tar", "tgz", "zip", "none"}, .help = "what the files are"});
  f.section("record", record);
  f.section("filters", filters);
  f.section("captions", captions);
  f.section("splits", splits);
  f.section("latents", latents);
  f.field("shard_records", shard_records, {.min = 1, .max = 1e6, .help = "raw records per shard"});
  f.field("subset", subset, {.choices = {"all", "small"}, .help = "small: about 1 %"});
  f.field("threads_per_rank", threads_per_rank, {.min = 1, .max = 1024, .help = "of the encoders; recorded"});
  f.field("device", device,
          {.choices = {"auto", "cpu", "cuda"}, .help = "of the encoders; auto: a GPU where there is one"});
  f.field("task", task, {.help = "i/n: this task's share, 0-based (default: the Slurm array's)"});
  if (!f.reading()) return;
  if (!name.empty() && !is_plain_name(name)) {
    f.error("name", fmt::format("'{}': use letters, digits, '-', '_' and '.' only", name));
  }
  for (const std::string& source_name : captions.which) {
    if (!record.caption.contains(source_name)) {
      f.error("captions", fmt::format("which: record.caption has no source '{}'", source_name));
    }
  }
}

std::string CatalogueEntry::folder_name() const {
  return subset == "small" ? name + "-small" : name;
}
std::filesystem::path CatalogueEntry::raw_folder() const {
  return core::data_root() / "raw" / folder_name();
}
std::filesystem::path CatalogueEntry::samples_folder() const {
  return core::data_root() / "samples" / folder_name();
}
std::filesystem::path CatalogueEntry::latents_folder() const {
  return core::data_root() / "latents" / folder_name();
}

std::vector<std::string> CatalogueEntry::caption_sources() const {
  if (!captions.which.empty()) return captions.which;
  std::vector<std::string> names;
  for (const auto& [source_name, where] : record.caption) names.push_back(source_name);
  return names;
}

}  // namespace microdit::ingest
