// Where pictures lie.
#include "score/pictures.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <vector>

#include "core/atomic_file.h"
#include "core/dataset_folder.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"
#include "core/utf8.h"
#include "image/decode.h"
#include "store/byte_rows.h"
#include "store/manifest.h"
#include "store/shard.h"

namespace microdit::score {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 32;  // of folders in one another
constexpr const char* kManifest = "manifest.jsonl";

std::string sha256_of(const std::string& text) {
  return core::sha256(std::as_bytes(std::span(text)));
}

std::string counted(std::int64_t n) {
  return fmt::format("{} picture{}", n, n == 1 ? "" : "s");
}

image::Image decoded(std::span<const std::byte> bytes, const image::DecodeRules& rules,
                     const std::string& name) {
  try {
    return image::decode(bytes, rules);
  } catch (const image::BadImage& bad) {
    core::user_error("{}: no picture: {}; remove it, or make it again", name, bad.what());
  }
}

// --- files -------------------------------------------------------------------------------------

struct FoundFile {
  std::string name;  ///< below the folder
  std::uint64_t bytes = 0;
  std::string caption;
  std::int64_t written = 0;  ///< when
};

std::int64_t written_at(const fs::path& file) {
  return fs::last_write_time(file).time_since_epoch().count();
}

/// What Pillow's open().convert("RGB") gives, as pytorch-fid and clean-fid read.
image::DecodeRules pillow_rules() {
  image::DecodeRules rules;
  rules.drop_alpha = true;
  rules.clip_grey16 = true;
  return rules;
}

std::string extension(const fs::path& file) {
  std::string text = file.extension().string();
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// Files whose names end like pictures', in name order; of others that Python's tools would read only their endings.
void look_into(const fs::path& folder, const std::string& below, int depth, std::vector<FoundFile>& found,
               std::set<std::string>& unread) {
  static const std::set<std::string> kinds = {".png", ".jpg", ".jpeg", ".webp",
                                              ".gif", ".bmp", ".tif",  ".tiff"};
  static const std::set<std::string> others = {".ppm", ".pgm", ".npy"};
  if (depth > kDeepest) core::user_error("{}: folders deeper than {}", folder.string(), kDeepest);
  for (const fs::path& path : core::entries_of(folder)) {
    const std::string name = path.filename().string();
    if (name.starts_with(".")) continue;
    if (fs::is_directory(path)) {
      look_into(path, below + name + "/", depth + 1, found, unread);
    } else if (kinds.contains(extension(path))) {
      if (const auto bytes = core::input_bytes(path))
        found.push_back({below + name, *bytes, "", written_at(path)});
    } else if (others.contains(extension(path))) {
      unread.insert(extension(path));
    }
  }
}

/// The pictures that generate's manifest names, with their prompts.
std::vector<FoundFile> read_manifest(const fs::path& folder) {
  std::vector<FoundFile> found;
  const std::string text = core::read_text(folder / kManifest);
  std::int64_t line = 0;
  for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    const std::string where = fmt::format("{}:{}", (folder / kManifest).string(), ++line);
    const core::Json entry = core::parse_json(std::string_view(text).substr(begin, end - begin), where);
    if (!entry.is_object() || !entry.contains("file") || !entry["file"].is_string())
      core::user_error("{}: names no file: not what generate wrote", where);
    const std::string name = entry["file"];
    if (name.empty() || fs::path(name).is_absolute() || ("/" + name + "/").find("/../") != std::string::npos)
      core::user_error("{}: \"{}\" does not lie in this folder", where, core::shortened(name, 100));
    const auto bytes = core::input_bytes(folder / name);
    if (!bytes) core::user_error("{}: {} is missing; generate again, or take its line away", where, name);
    const bool has_prompt = entry.contains("prompt") && entry["prompt"].is_string();
    found.push_back(
        {name, *bytes, has_prompt ? entry["prompt"].get<std::string>() : "", written_at(folder / name)});
  }
  return found;
}

class FilePictures final : public Pictures {
 public:
  FilePictures(fs::path folder, std::vector<FoundFile> files)
      : folder_(std::move(folder)), files_(std::move(files)) {}
  std::int64_t count() const override { return std::ssize(files_); }
  image::Image picture(std::int64_t i) const override {
    const fs::path file = folder_ / files_[static_cast<std::size_t>(i)].name;
    const std::string bytes = core::read_text(file);
    return decoded(std::as_bytes(std::span(bytes)), pillow_rules(), file.string());
  }
  fs::path folder() const override { return folder_; }
  std::string caption(std::int64_t i) const override { return files_[static_cast<std::size_t>(i)].caption; }
  std::string text() const override { return fmt::format("{} of {}", counted(count()), folder_.string()); }
  std::string identity() const override {
    std::string all;
    for (const FoundFile& file : files_)
      all += fmt::format("{}\n{}\n{}\n{}\n", file.name, file.bytes, file.written, file.caption);
    return sha256_of(all);
  }

 private:
  fs::path folder_;
  std::vector<FoundFile> files_;
};

std::unique_ptr<Pictures> open_folder(const fs::path& folder) {
  std::vector<FoundFile> files;
  std::set<std::string> unread;
  if (fs::exists(folder / ".call.json") && !fs::exists(folder / kManifest))
    core::user_error("{}: generate has not come to its end there (no {}): give its command again first",
                     folder.string(), kManifest);
  if (fs::exists(folder / kManifest)) {
    files = read_manifest(folder);
  } else {
    look_into(folder, "", 0, files, unread);
    std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  }
  for (const std::string& kind : unread)
    core::log_warn("{}: files that end in {} are not read", folder.string(), kind);
  if (files.empty()) core::user_error("{}: holds no pictures", folder.string());
  return std::make_unique<FilePictures>(folder, std::move(files));
}

// --- datasets ----------------------------------------------------------------------------------

/// What clean was told of alpha, 16-bit grey and EXIF.
image::DecodeRules rules_of(const core::Json& facts) {
  const core::Json pictures = facts.value("pictures", core::Json::object());
  image::DecodeRules rules;
  rules.drop_alpha = pictures.value("alpha", "white") == "drop";
  rules.clip_grey16 = pictures.value("grey16", "high") == "clip";
  rules.apply_exif = pictures.value("exif", "ignore") == "apply";
  return rules;
}

class DatasetPictures final : public Pictures {
 public:
  DatasetPictures(const store::Manifest& samples, const std::string& split)
      : folder_(samples.folder), split_(split), manifest_(samples.sha256), rules_(rules_of(samples.facts)) {
    for (const store::ShardEntry& entry : samples.shards()) {
      const fs::path path = samples.folder / entry.file;
      const auto splits = store::ShardReader(path).read_as<std::uint8_t>("split");
      for (std::size_t row = 0; row < splits.size(); ++row)
        if (split == "all" || splits[row] == (split == "held_out" ? 1 : 0))
          places_.push_back({shards_.size(), static_cast<std::int64_t>(row)});
      shards_.push_back(path);
    }
    if (places_.empty())
      core::user_error("{}: no pictures in split {}; name another: split=all, train or held_out",
                       folder_.string(), split);
  }
  std::int64_t count() const override { return std::ssize(places_); }
  image::Image picture(std::int64_t i) const override {
    const Place& place = places_[static_cast<std::size_t>(i)];
    const std::shared_ptr<Open> shard = open(place.shard);
    if (place.row >= shard->pictures->size())
      core::user_error("{}: its columns have different numbers of rows; make the shard anew",
                       shard->reader.path().string());
    return decoded(shard->pictures->read(place.row), rules_,
                   fmt::format("{}: sample {}", shard->reader.path().string(), place.row));
  }
  fs::path folder() const override { return folder_; }
  std::string caption(std::int64_t i) const override {
    if (captions_.empty()) read_captions();
    return captions_[static_cast<std::size_t>(i)];
  }
  std::string text() const override {
    return fmt::format("{} of {} (split {})", counted(count()), folder_.string(), split_);
  }
  std::string identity() const override { return sha256_of(manifest_ + "\n" + split_); }

 private:
  struct Place {
    std::size_t shard;
    std::int64_t row;
  };
  struct Open {
    explicit Open(const fs::path& path) : reader(path) {
      pictures = std::make_unique<store::ByteRows>(reader, "image");
    }
    store::ShardReader reader;
    std::unique_ptr<store::ByteRows> pictures;
  };
  /// The first source's.
  void read_captions() const {
    captions_.resize(places_.size());
    std::size_t next = 0;
    for (std::size_t number = 0; number < shards_.size(); ++number) {
      const store::ShardReader shard(shards_[number]);
      const core::Json& facts = shard.attributes();
      const auto sources = facts.find("caption_sources");
      if (sources == facts.end() || !sources->is_array() || sources->empty() || !sources->front().is_string())
        core::user_error("{}: has no captions", shards_[number].string());
      const auto texts = store::read_strings(shard, "caption." + sources->front().get<std::string>());
      for (; next < places_.size() && places_[next].shard == number; ++next) {
        const auto row = static_cast<std::size_t>(places_[next].row);
        if (row >= texts.size())
          core::user_error("{}: its columns have different numbers of rows; make the shard anew",
                           shards_[number].string());
        captions_[next] = texts[row];
      }
    }
  }
  /// The shard that was asked for last stays open: lists go through them in order.
  std::shared_ptr<Open> open(std::size_t number) const {
    const std::scoped_lock held(lock_);
    if (!last_ || last_number_ != number) {
      last_ = std::make_shared<Open>(shards_[number]);
      last_number_ = number;
    }
    return last_;
  }

  fs::path folder_;
  std::string split_, manifest_;
  image::DecodeRules rules_;
  std::vector<fs::path> shards_;
  std::vector<Place> places_;
  mutable std::vector<std::string> captions_;  ///< read when the first is asked for
  mutable std::mutex lock_;
  mutable std::shared_ptr<Open> last_;
  mutable std::size_t last_number_ = 0;
};

/// A folder that is there wins over a dataset's name.
fs::path folder_of(const std::string& place) {
  return fs::is_directory(place) ? fs::path(place) : core::dataset_folder("samples", place);
}

}  // namespace

bool is_dataset(const std::string& place) {
  return !place.empty() && fs::exists(folder_of(place) / "facts.json");
}

std::unique_ptr<Pictures> open_pictures(const std::string& place, const std::string& split) {
  const fs::path folder = folder_of(place);
  if (!fs::is_directory(folder))
    core::user_error("{}: no folder of pictures, and no dataset at {}", place, folder.string());
  if (is_dataset(place))
    return std::make_unique<DatasetPictures>(store::Manifest::read(folder),
                                             split.empty() ? "held_out" : split);
  if (!split.empty())
    core::user_error("split={}: {} is a folder of pictures; only datasets have splits", split,
                     folder.string());
  return open_folder(folder);
}

}  // namespace microdit::score
