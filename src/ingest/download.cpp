// download: an entry's files -> raw/NAME (of weights -> weights/NAME), each checked, each committed once.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <unordered_set>

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/progress.h"
#include "ingest/address.h"
#include "ingest/fetcher.h"
#include "ingest/hub.h"
#include "ingest/limits.h"
#include "ingest/stage_driver.h"
#include "ingest/stages.h"
#include "ingest/table_files.h"
#include "ingest/weights_place.h"
#include "store/manifest_text.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
constexpr const char* kHostsFile = "records/hosts.txt";   ///< in the raw folder; no record
constexpr std::uint64_t kProbeBytes = 64 * limits::kMiB;  ///< of one file, to measure the rate
constexpr double kProbe_s = 5;
constexpr std::size_t kAsked =
    16;  ///< unknown sizes that a dry run asks for; their mean stands for the others
constexpr std::size_t kManyLoose = 100'000;  ///< files; more of them cost more than they hold

bool is_remote(const RawFile& file) {
  return file.lies.empty() && !file.url.starts_with("file://");
}

/// Files that earlier lives finished: asked for again, they tell whether a host is silent, or one file of it.
void note_fetched_files(const std::vector<RawFile>& files, const fs::path& folder, HttpClient& client) {
  std::unordered_set<std::string> records;
  for (const fs::path& entry : core::entries_of(folder / "records"))
    records.insert(entry.filename().string());
  for (const RawFile& file : files)
    if (is_remote(file) && records.contains(file.name + ".json")) client.note_fetched(file.url);
}

/// The token, where some address of the entry is the hub's.
std::string token_for(const CatalogueEntry& entry) {
  std::string token = take_hub_token(entry);
  if (!entry.source.hub.empty() || token.empty()) return token;
  const std::string hub = origin_of(hub_endpoint());
  const auto is_hub = [&](const std::string& url) { return origin_of(url) == hub; };
  const auto of_hub = [&](const std::string& url) { return url.starts_with("hf://") || is_hub(url); };
  if (entry.source.gated && !entry.source.urls.empty() && std::ranges::none_of(entry.source.urls, of_hub) &&
      std::ranges::none_of(entry.source.also, of_hub)) {
    core::user_error(
        "source.gated: the token goes to the hub ({}) only, and none of source.urls and source.also is there",
        hub_endpoint());
  }
  return token;
}

/// Rank 0 asks the hub, all get its answer; nothing when stopped.
std::optional<std::vector<HubFile>> agreed_hub_files(const CatalogueEntry& entry, HttpClient& client,
                                                     comm::Communicator& comm, const core::StopFlag& stop) {
  if (entry.source.hub.empty()) return std::vector<HubFile>();
  const comm::WiderDeadline rank_0_may_wait_for_the_hub(comm, limits::kOutageSeconds);
  const std::string pin = comm.on_root(
      [&] { return pin_hub_files(entry.source, entry.raw_folder() / kPinFile, client, stop).value_or(""); });
  if (pin.empty()) return std::nullopt;
  return pinned_files(entry.source, pin);
}

/// The same for a dry run: asks only where nothing is pinned, and pins nothing.
std::optional<std::vector<HubFile>> known_hub_files(const CatalogueEntry& entry, HttpClient& client,
                                                    const core::StopFlag& stop) {
  if (entry.source.hub.empty()) return std::vector<HubFile>();
  if (const auto pin = present_pin(entry.source, entry.raw_folder() / kPinFile))
    return pinned_files(entry.source, *pin);
  return hub_files(entry.source, client, stop);
}

/// What a run would fetch: all but what is recorded and there, or was removed when its samples were made.
std::vector<RawFile> missing_files(const CatalogueEntry& entry, const std::vector<RawFile>& files) {
  const fs::path folder = entry.raw_folder();
  std::vector<RawFile> missing;
  std::error_code error;
  std::ranges::copy_if(files, std::back_inserter(missing), [&](const RawFile& file) {
    return !fs::exists(folder / "records" / (file.name + ".json"), error) ||
           (!fs::exists(folder / file.name, error) && store::removed_on_purpose(folder, file.name).empty());
  });
  return missing;
}

/// What identifies a file; where it cannot be read, what its record says of it.
core::Json inputs_of(const RawFile& file, const fs::path& folder) {
  const fs::path record = folder / "records" / (file.name + ".json");
  std::error_code missing;
  if (file.fault.empty() || !fs::exists(record, missing)) return file.inputs;
  return store::record_from_text(core::read_text(record), record.string())
      .details.value("inputs", file.inputs);
}

/// Every loose file is an inode or two, a record, and a look by each process at each start.
void advise(const CatalogueEntry& entry, const std::vector<RawFile>& files) {
  if (entry.archive == "none" && files.size() > kManyLoose)
    core::log_warn(
        "download: {} loose files: every process looks at each of them at every start, and each gets a "
        "record; few "
        "large archives cost next to nothing (tar -cf 000.tar …, archive: tar)",
        files.size());
}

/// Bytes of a file as far as can be told without fetching it; -1 = not known.
std::int64_t bytes_of(const RawFile& file) {
  if (file.bytes >= 0 || !file.url.starts_with("file://")) return file.bytes;
  std::error_code missing;
  const std::uintmax_t bytes = fs::file_size(path_of_file_url(file.url), missing);
  if (missing) fmt::print("  missing: {}\n", file.url);
  return missing ? -1 : static_cast<std::int64_t>(bytes);
}

struct Sizes {
  double to_read = 0, to_store = 0;
  bool are_known = true;
};

/// Of all files together; of those whose size nobody has told yet a few are asked for, and their mean stands for the others.
/// Nothing when stopped.
std::optional<Sizes> sizes_of(const std::vector<RawFile>& files, HttpClient& client,
                              const core::StopFlag& stop) {
  Sizes sizes;
  double told = 0;
  std::size_t asked = 0, answered = 0, others = 0;
  for (const RawFile& file : files) {
    std::int64_t own = bytes_of(file);
    if (own < 0 && is_remote(file) && asked < kAsked) {
      ++asked;
      own = client.size(file.url, stop);
      if (stop.requested()) return std::nullopt;
      if (own < 0) fmt::print("  {} does not tell its size\n", shown(file.url));
      answered += own >= 0;
      told += static_cast<double>(std::max<std::int64_t>(own, 0));
    }
    if (own < 0) {
      others += is_remote(file);
      continue;
    }
    sizes.to_read += static_cast<double>(own);
    if (file.lies.empty()) sizes.to_store += static_cast<double>(own);
  }
  if (answered > 0) {
    const double rest = told / static_cast<double>(answered) * static_cast<double>(others);
    sizes.to_read += rest;
    sizes.to_store += rest;
  }
  sizes.are_known = others == 0 || answered > 0;
  return sizes;
}

/// Bytes per second at which a local file is read and hashed.
double local_speed(const RawFile& file, std::uint64_t bytes, const core::StopFlag& stop) {
  std::ifstream in(file.lies.empty() ? path_of_file_url(file.url) : file.lies, std::ios::binary);
  std::vector<char> block(1 << 20);
  core::Sha256 hash;
  std::uint64_t done = 0;
  const auto start = std::chrono::steady_clock::now();
  while (in && done < bytes && !stop.requested()) {
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    hash.update(std::as_bytes(std::span(block).first(static_cast<std::size_t>(in.gcount()))));
    done += static_cast<std::uint64_t>(in.gcount());
  }
  const double elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return elapsed_s > 0 ? static_cast<double>(done) / elapsed_s : 0;
}

/// Reads a little of one file and says how long all of them take at that rate.
void describe_speed(const std::vector<RawFile>& files, double bytes, HttpClient& client,
                    const core::StopFlag& stop) {
  const auto remote = std::ranges::find_if(files, is_remote);
  const RawFile& probe = remote != files.end() ? *remote : files[0];
  const double speed = remote != files.end() ? client.speed(remote->url, kProbeBytes, kProbe_s, stop)
                                             : local_speed(probe, kProbeBytes, stop);
  if (speed <= 0 || bytes <= 0 || stop.requested()) return;
  fmt::print("  about {} at the {}/s that {} gave just now to one reader\n",
             core::duration_text(bytes / speed), readable(speed, "B"), probe.name);
}

/// The entry's files into its raw folder; the exit code.
int fetch_all(const CatalogueEntry& entry, comm::Communicator& comm, const core::StopFlag& stop) {
  check_table_files(entry);
  Fetcher fetcher(entry, token_for(entry));
  fetcher.client().keep_hosts(entry.raw_folder() / kHostsFile);
  const auto hub = agreed_hub_files(entry, fetcher.client(), comm, stop);
  if (!hub) {
    core::log_info("download: stopped as asked; the same command continues");
    return core::kRequeueMe;
  }
  const std::vector<RawFile> files = list_files(
      entry, [&](const SourceSection&) { return *hub; }, stop);
  if (comm.rank() == 0) advise(entry, files);
  note_fetched_files(files, entry.raw_folder(), fetcher.client());
  std::map<std::string, const RawFile*> by_name;
  StagePlan stage;
  for (const RawFile& file : files) {
    by_name[file.name] = &file;
    stage.items.push_back({file.name, inputs_of(file, entry.raw_folder())});
  }
  stage.name = "download";
  stage.unit = "B";
  stage.folder = entry.raw_folder();
  stage.facts = entry.is_weights() ? facts_of_weights(entry)
                                   : core::Json{{"stage", "raw"},
                                                {"format", store::kFormat},
                                                {"dataset", entry.name},
                                                {"subset", entry.subset}};
  stage.task = entry.is_weights() ? "0/1" : entry.task;
  stage.max_failed_items = entry.max_failed_items;
  stage.needs_all = entry.is_weights();
  stage.parallel = entry.source.parallel;
  stage.bytes = [&](const store::Item& item) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(by_name.at(item.name)->bytes, 0));
  };
  stage.work = [&](const store::Item& item, Progress& progress, const core::StopFlag& inner) {
    const RawFile& file = *by_name.at(item.name);
    if (!file.fault.empty()) throw core::InputFault(file.fault);
    return fetcher.fetch(
        file, stage.folder, [&](double bytes) { progress.add(bytes); }, inner);
  };
  return run_stage(stage, comm, stop);
}

}  // namespace

int download(const CatalogueEntry& entry, comm::Communicator& comm, const core::StopFlag& stop) {
  if (!entry.is_weights()) return fetch_all(entry, comm, stop);
  // A few files, then one renaming: the work of one task.
  if (comm::share_of(comm, entry.task).slot >= comm.size()) {
    core::log_info("download: weights are the first task's work; this one has none");
    return core::kDone;
  }
  if (comm.on_root([&] { return std::string(weights_are_there(entry, true) ? "yes" : ""); }) == "yes")
    return core::kDone;
  try {
    const int code = fetch_all(entry, comm, stop);
    if (code == core::kDone) comm.on_root([&] { place_weights(entry); });
    if (code == core::kDone || code == core::kRequeueMe || !are_placed(entry)) return code;
  } catch (const std::exception&) {
    if (!are_placed(entry)) throw;
  }
  core::log_info("download: another download has put {} there", entry.weights_folder().string());
  return core::kDone;
}

bool describe_download(const CatalogueEntry& entry, const core::StopFlag& stop) {
  if (entry.is_weights() && weights_are_there(entry, false)) return true;
  check_table_files(entry);
  const fs::path place = entry.is_weights() ? entry.weights_folder() : entry.raw_folder();
  describe_space(place);
  Fetcher fetcher(entry, token_for(entry));
  const auto hub = known_hub_files(entry, fetcher.client(), stop);
  if (!hub) return false;
  const std::vector<RawFile> files = list_files(
      entry, [&](const SourceSection&) { return *hub; }, stop);
  advise(entry, files);
  const std::vector<RawFile> missing = missing_files(entry, files);
  fmt::print("download {}: {} files -> {}, {} of them are there already\n", entry.name, files.size(),
             place.string(), files.size() - missing.size());
  if (missing.empty()) return true;
  const std::optional<Sizes> sizes = sizes_of(missing, fetcher.client(), stop);
  if (!sizes) return false;
  const auto said = [&](double bytes) {
    return sizes->are_known ? readable(bytes, "B") : "an unknown number of bytes";
  };
  // One record each, and the file or a link to it; facts, a listing, two manifests.
  fmt::print("  {} to read, {} to store, {} inodes\n", said(sizes->to_read), said(sizes->to_store),
             2 * missing.size() + 4);
  describe_speed(missing, sizes->to_read, fetcher.client(), stop);
  return !stop.requested();
}

}  // namespace microdit::ingest
