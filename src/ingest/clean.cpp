// clean: archives -> records -> filters -> samples shards that keep the original image bytes.
#include <algorithm>
#include <map>
#include <unordered_set>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/seed.h"
#include "ingest/archives.h"
#include "ingest/columns.h"
#include "ingest/picture_worker.h"
#include "ingest/progress.h"
#include "ingest/records.h"
#include "ingest/stages.h"
#include "ingest/work.h"
#include "store/sample_hash.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kFormat = 1;

/// One archive; for `archive: none` all files together.
struct Item {
  std::string name;
  std::vector<store::ShardEntry> files;
};

std::string stem_of(const std::string& file) {
  for (const std::string_view ending : {".tar.gz", ".tar", ".tgz", ".zip"}) {
    if (file.size() > ending.size() && file.ends_with(ending))
      return file.substr(0, file.size() - ending.size());
  }
  return file;
}

std::vector<Item> list_items(const CatalogueEntry& entry, const store::Manifest& raw) {
  const std::vector<store::ShardEntry> files = raw.shards();
  if (entry.archive == "none") return {{"files", files}};
  std::vector<Item> items;
  for (const store::ShardEntry& file : files) {
    items.push_back({stem_of(file.file), {file}});
    for (std::size_t i = 0; i + 1 < items.size(); ++i) {
      if (items[i].name == items.back().name) items.back().name = file.file;  // a.tar beside a.zip
    }
  }
  return items;
}

core::Json make_facts(const CatalogueEntry& entry, const store::Manifest& raw) {
  core::Sha256 inputs;
  for (const store::ShardEntry& file : raw.shards()) {
    const std::string line = fmt::format("{} {}\n", file.file, file.sha256);
    inputs.update(std::as_bytes(std::span(line)));
  }
  return {{"stage", "samples"},
          {"format", kFormat},
          {"dataset", entry.name},
          {"subset", entry.subset},
          {"archive", entry.archive},
          {"record", core::to_json(entry.record)},
          {"filters", core::to_json(entry.filters)},
          {"captions", core::to_json(entry.captions)},
          {"caption_sources", entry.caption_sources()},
          {"splits", core::to_json(entry.splits)},
          {"split_names", {"train", "held_out"}},
          {"shard_records", entry.shard_records},
          {"raw_sha256", inputs.hex_digest()}};
}

/// Which side of the split a group falls on: a function of its name and the seed alone.
std::uint8_t split_of(const SplitSection& splits, const std::string& group) {
  core::CounterRng rng(static_cast<std::uint64_t>(splits.seed), core::Purpose::split,
                       core::xxh3_64(std::as_bytes(std::span(group))));
  return rng.uniform() < splits.held_out ? 1 : 0;
}

/// The kept records of one range, column by column.
struct Rows {
  std::vector<std::string> images, keys;
  std::vector<std::int32_t> widths, heights;
  std::vector<std::uint8_t> splits;
  std::vector<std::vector<std::string>> captions;  ///< [source][row]
  std::int64_t count() const { return static_cast<std::int64_t>(keys.size()); }
};

/// Turns one archive's records into shards; a range of `shard_records` raw records makes one shard.
class ItemCleaner {
 public:
  ItemCleaner(const CatalogueEntry& entry, const Item& item, const fs::path& folder, Progress& progress)
      : entry_(entry), item_(item), folder_(folder), progress_(progress) {
    rows_.captions.resize(entry.caption_sources().size());
    record_.item = item.name;
  }

  void add(RawRecord&& raw) {
    const std::int64_t range = total_++ / entry_.shard_records;
    if (range != range_) write_range();
    range_ = range;
    progress_.add(1);
    ReadRecord read;
    PictureResult size;
    std::string reason = seen_.insert(raw.key).second ? "" : "damaged.duplicate_key";
    if (reason.empty()) reason = read_record(std::move(raw), entry_, read);
    if (reason.empty()) {
      size = pictures_.check(read.image, entry_.filters.min_side);
      reason = size.reason;
    }
    if (!reason.empty()) {
      ++skipped_[reason];
      return;
    }
    rows_.images.emplace_back(reinterpret_cast<const char*>(read.image.data()), read.image.size());
    rows_.widths.push_back(static_cast<std::int32_t>(size.width));
    rows_.heights.push_back(static_cast<std::int32_t>(size.height));
    rows_.splits.push_back(split_of(entry_.splits, read.group));
    for (std::size_t i = 0; i < read.captions.size(); ++i)
      rows_.captions[i].push_back(std::move(read.captions[i]));
    rows_.keys.push_back(std::move(read.key));
  }

  /// The last shard and the record to commit. UserError when too much was skipped.
  store::Record finish() {
    write_range();
    core::Json skipped = core::Json::object();
    std::int64_t lost = 0;
    for (const auto& [reason, count] : skipped_) {
      skipped[reason] = count;
      lost += count;
    }
    if (lost > 0)
      core::log_info("clean: {}: skipped {} of {} records: {}", item_.name, lost, total_, skipped.dump());
    if (total_ == 0 ||
        static_cast<double>(lost) > entry_.filters.max_damaged_fraction * static_cast<double>(total_)) {
      core::user_error(
          "{}: {} of {} records were skipped ({}), more than filters.max_damaged_fraction = {} allows: check "
          "the "
          "entry's record and filters sections, or raise it",
          item_.files[0].file, lost, total_, skipped.dump(), entry_.filters.max_damaged_fraction);
    }
    core::Json raw_files = core::Json::object();
    for (const store::ShardEntry& file : item_.files) raw_files[file.file] = file.sha256;
    record_.details = {
        {"raw", raw_files}, {"records", total_}, {"kept", total_ - lost}, {"skipped", skipped}};
    return record_;
  }

 private:
  void write_range() {
    if (rows_.count() == 0) return;
    store::ShardContents contents;
    const std::vector<std::string> sources = entry_.caption_sources();
    store::add_strings(contents, "image", rows_.images);
    contents.columns.push_back(make_column("width", core::DType::i32, rows_.widths));
    contents.columns.push_back(make_column("height", core::DType::i32, rows_.heights));
    contents.columns.push_back(make_column("split", core::DType::u8, rows_.splits));
    store::add_strings(contents, "key", rows_.keys);
    store::SampleLayout layout;
    layout.fixed = {"width", "height", "split"};
    layout.variable = {"image", "key"};
    for (std::size_t i = 0; i < sources.size(); ++i) {
      store::add_strings(contents, "caption." + sources[i], rows_.captions[i]);
      layout.variable.push_back("caption." + sources[i]);
    }
    contents.sample_hashes = store::hash_samples(contents, layout);
    contents.attributes = {{"stage", "samples"},
                           {"format", kFormat},
                           {"dataset", entry_.name},
                           {"item", item_.name},
                           {"first_record", range_ * entry_.shard_records},
                           {"caption_sources", sources},
                           {"layout", store::to_json(layout)}};
    const fs::path path = folder_ / fmt::format("{}-{:05}.h5", item_.name, range_);
    const std::string sha256 = store::write_shard(path, contents);
    record_.shards.push_back({path.filename().string(), rows_.count(), fs::file_size(path), sha256});
    rows_ = Rows();
    rows_.captions.resize(sources.size());
  }

  const CatalogueEntry& entry_;
  PictureWorker pictures_{entry_.pictures};
  const Item& item_;
  const fs::path& folder_;
  Progress& progress_;
  store::Record record_;
  Rows rows_;
  std::int64_t range_ = 0, total_ = 0;
  std::map<std::string, std::int64_t> skipped_;
  std::unordered_set<std::string> seen_;
};

std::vector<std::byte> read_bytes(const fs::path& path) {
  std::vector<std::byte> bytes(fs::file_size(path));
  std::FILE* in = std::fopen(path.c_str(), "rb");
  const std::size_t got = in ? std::fread(bytes.data(), 1, bytes.size(), in) : 0;
  if (in) std::fclose(in);
  if (!in || got != bytes.size()) core::system_error("{}: cannot be read", path.string());
  return bytes;
}

store::Record clean_item(const CatalogueEntry& entry, const Item& item, const fs::path& folder,
                         Progress& progress) {
  ItemCleaner cleaner(entry, item, folder, progress);
  const ArchiveRules rules{.kind = entry.archive, .wanted = wanted_extensions(entry)};
  RecordGrouper grouper(rules.wanted, [&](RawRecord&& raw) { cleaner.add(std::move(raw)); });
  for (const store::ShardEntry& file : item.files) {
    const fs::path path = entry.raw_folder() / file.file;
    if (!fs::exists(path))
      core::user_error("{}: is in the manifest but missing: run download again", path.string());
    if (fs::file_size(path) != file.bytes || core::sha256_file(path) != file.sha256) {
      core::user_error(
          "{}: is not what was downloaded ({} bytes, SHA-256 {}): remove it and run download again",
          path.string(), file.bytes, file.sha256);
    }
    if (entry.archive == "none") {
      const bool oversize = file.bytes > limits::kRecordBytes;
      grouper.add({.name = file.file,
                   .bytes = oversize ? std::vector<std::byte>() : read_bytes(path),
                   .skip = oversize ? "unsupported.oversize" : ""});
    } else {
      for_each_member(path, rules, [&](Member&& member) { grouper.add(std::move(member)); });
    }
  }
  grouper.finish();
  return cleaner.finish();
}

}  // namespace

int clean(const CatalogueEntry& entry, comm::Communicator& comm, const core::StopFlag& stop) {
  const store::Manifest raw = store::Manifest::read(entry.raw_folder());
  const std::vector<Item> items = list_items(entry, raw);
  const fs::path path = entry.samples_folder();
  store::StageFolder folder(path, make_facts(entry, raw), static_cast<std::int64_t>(items.size()));
  const comm::Share share = comm::share_of(comm, entry.task);

  std::map<std::string, const Item*> own;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (share.owns(static_cast<std::int64_t>(i))) own[items[i].name] = &items[i];
  }
  remove_own_temporaries(path, [&](std::string_view name) {
    std::string item;
    return item_of_file(name, item) && own.contains(item);
  });
  Progress progress("clean", "records", static_cast<std::int64_t>(own.size()));
  bool stopped = false;
  for (const auto& [name, item] : own) {
    if ((stopped = stop.requested())) break;
    const bool fresh = !folder.done(name);
    if (fresh) folder.commit(clean_item(entry, *item, path, progress));
    progress.item_done(fresh);
  }
  progress.finish(stopped);
  return finish_stage(folder, "clean", stopped, comm);
}

void describe_clean(const CatalogueEntry& entry) {
  describe_space(entry.samples_folder());
  if (!is_complete(entry.raw_folder(), "download")) return;
  const store::Manifest raw = store::Manifest::read(entry.raw_folder());
  double bytes = 0;
  std::int64_t done = 0;
  const std::vector<Item> items = list_items(entry, raw);
  for (const store::ShardEntry& file : raw.shards()) bytes += static_cast<double>(file.bytes);
  for (const Item& item : items)
    done += fs::exists(entry.samples_folder() / "records" / (item.name + ".json"));
  fmt::print("clean {}: {} archives, {} -> {}\n  {} archives are done already\n", entry.name, items.size(),
             readable(bytes, "B"), entry.samples_folder().string(), done);
}

}  // namespace microdit::ingest
