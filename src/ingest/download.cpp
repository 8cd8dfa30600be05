// download: an entry's files -> raw/NAME, each checked, each committed once.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "ingest/captions.h"
#include "ingest/http.h"
#include "ingest/progress.h"
#include "ingest/sources.h"
#include "ingest/stages.h"
#include "ingest/work.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

/// The hub's token, "" when the entry is not gated. Never logged, never on a command line.
std::string hub_token(const CatalogueEntry& entry) {
  if (!entry.source.gated) return "";
  if (const char* file = std::getenv("HF_TOKEN_FILE"); file && *file) {
    struct stat about {};
    if (::stat(file, &about) != 0) core::user_error("HF_TOKEN_FILE={}: no such file", file);
    if (about.st_mode & 077) core::user_error("HF_TOKEN_FILE={}: others may read it: chmod 600", file);
    return strip(core::read_text(file));
  }
  if (const char* token = std::getenv("HF_TOKEN"); token && *token) return token;
  core::user_error("dataset {} is gated: set HF_TOKEN_FILE to a file (mode 0600) with your token",
                   entry.name);
}

/// Copies a local file aside; false when stopped.
bool copy_local(const std::string& url, const fs::path& aside, Progress& progress,
                const core::StopFlag& stop) {
  const std::string source = url.substr(std::string_view("file://").size());
  std::error_code missing;
  if (!fs::is_regular_file(source, missing))
    core::user_error("{}: no such file; make or fetch it first", url);
  std::ifstream in(source, std::ios::binary);
  std::ofstream out(aside, std::ios::binary | std::ios::trunc);
  std::vector<char> block(1 << 20);
  while (in && out) {
    if (stop.requested()) return false;
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    out.write(block.data(), in.gcount());
    progress.add(static_cast<double>(in.gcount()));
  }
  out.close();
  if (in.bad()) core::system_error("{}: cannot be read", source);
  if (!out) core::system_error("{}: cannot be written; is the disk full?", aside.string());
  return true;
}

/// Held while a partial file grows, so that an orphan of an older life cannot write into it too. Where the
/// file system has no locks it does nothing.
class PartialLock {
 public:
  explicit PartialLock(const fs::path& partial)
      : fd_(::open(partial.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (fd_ < 0) core::system_error("{}: cannot be created", partial.string());
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(fd_);
      core::system_error("{}: another process is downloading this file: wait for it or end it",
                         partial.string());
    }
  }
  ~PartialLock() { ::close(fd_); }
  PartialLock(const PartialLock&) = delete;
  PartialLock& operator=(const PartialLock&) = delete;

 private:
  int fd_;
};

class Downloader {
 public:
  Downloader(const CatalogueEntry& entry, const store::StageFolder& folder, Progress& progress,
             const core::StopFlag& stop)
      : entry_(entry), folder_(folder.path()), progress_(progress), stop_(stop) {
    http_ = {entry.source.max_attempts, entry.source.backoff_s, hub_token(entry),
             [this](double bytes) { progress_.add(bytes); }};
  }

  /// Fetches, checks and publishes one file; nothing when stopped.
  std::optional<store::Record> fetch(const RawFile& file) {
    const fs::path final = folder_ / file.name;
    std::string expected = file.sha256;
    fs::path aside;
    std::optional<PartialLock> lock;
    if (file.url.starts_with("file://")) {
      aside = core::temporary_path(final);
      if (!copy_local(file.url, aside, progress_, stop_)) {
        fs::remove(aside);
        return std::nullopt;
      }
    } else {
      aside = folder_ / fmt::format(".{}.part", file.name);
      lock.emplace(aside);
      const HttpResult result = fetch_or_forget(file.url, aside);
      if (!result.complete) return std::nullopt;
      if (expected.empty()) expected = result.linked_sha256;
    }
    const store::ShardEntry shard{file.name, 0, fs::file_size(aside), core::sha256_file(aside)};
    check(file, aside, shard, expected);
    core::publish(aside, final);
    fs::remove(fs::path(aside) += ".etag");
    return store::Record{file.name, {shard}, core::Json::object()};
  }

 private:
  /// fetch_http; where it fails with nothing received, the empty partial file goes too.
  HttpResult fetch_or_forget(const std::string& url, const fs::path& partial) {
    try {
      return fetch_http(url, partial, http_, stop_);
    } catch (...) {
      std::error_code ignored;
      if (fs::file_size(partial, ignored) == 0) fs::remove(partial, ignored);
      throw;
    }
  }

  void check(const RawFile& file, const fs::path& aside, const store::ShardEntry& shard,
             const std::string& expected) {
    const fs::path earlier = folder_ / "records" / (file.name + ".json");
    const auto refuse = [&](std::string_view who, std::string_view digest, std::string_view remedy) {
      fs::remove(aside);
      fs::remove(fs::path(aside) += ".etag");
      core::user_error("{} ({}): SHA-256 is {}, but {} says {}: {}", file.name, file.url, shard.sha256, who,
                       digest, remedy);
    };
    if (!expected.empty() && shard.sha256 != expected) {
      refuse(file.sha256.empty() ? "the hub" : "source.sha256", expected,
             "the file at the source is damaged or another one");
    }
    if (!fs::exists(earlier)) return;
    const core::Json record = core::read_json(earlier);
    const std::string before = record.at("shards").at(0).at("sha256").get<std::string>();
    if (shard.sha256 != before) {
      refuse("its record of an earlier download", before,
             fmt::format("the source has changed; remove {} and what was made from it to start anew",
                         folder_.string()));
    }
  }

  const CatalogueEntry& entry_;
  fs::path folder_;
  Progress& progress_;
  const core::StopFlag& stop_;
  HttpOptions http_;
};

}  // namespace

int download(const CatalogueEntry& entry, comm::Communicator& comm, const core::StopFlag& stop) {
  const std::vector<RawFile> files = list_files(entry);
  const core::Json facts = {
      {"stage", "raw"}, {"dataset", entry.name}, {"subset", entry.subset}, {"files", files.size()}};
  store::StageFolder folder(entry.raw_folder(), facts, static_cast<std::int64_t>(files.size()));
  const comm::Share share = comm::share_of(comm, entry.task);

  std::map<std::string, const RawFile*> own;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (share.owns(static_cast<std::int64_t>(i))) own[files[i].name] = &files[i];
  }
  remove_own_temporaries(folder.path(), [&](std::string_view name) {
    if (own.contains(std::string(name))) return true;
    std::string item;
    return item_of_file(name, item) && own.contains(item);
  });
  Progress progress("download", "B", static_cast<std::int64_t>(own.size()));
  Downloader downloader(entry, folder, progress, stop);
  bool stopped = false;
  for (const auto& [name, file] : own) {
    if ((stopped = stop.requested())) break;
    const bool fresh = !folder.done(name);
    if (fresh) {
      const std::optional<store::Record> record = downloader.fetch(*file);
      if ((stopped = !record)) break;
      folder.commit(*record);
    }
    progress.item_done(fresh);
  }
  progress.finish(stopped);
  return finish_stage(folder, "download", stopped, comm);
}

void describe_download(const CatalogueEntry& entry) {
  describe_space(entry.raw_folder());
  const std::vector<RawFile> files = list_files(entry);
  fmt::print("download {}: {} files -> {}\n", entry.name, files.size(), entry.raw_folder().string());
  double known = 0;
  std::int64_t present = 0;
  for (const RawFile& file : files) {
    std::error_code missing;
    present += fs::exists(entry.raw_folder() / file.name, missing);
    if (!file.url.starts_with("file://")) continue;
    const std::uintmax_t bytes = fs::file_size(file.url.substr(7), missing);
    if (missing) fmt::print("  missing: {}\n", file.url);
    if (!missing) known += static_cast<double>(bytes);
  }
  if (!files[0].url.starts_with("file://")) {
    const std::int64_t first = remote_size(files[0].url, hub_token(entry));
    if (first >= 0) known = static_cast<double>(first) * static_cast<double>(files.size());
  }
  fmt::print("  first {}\n  about {}, {} files are there already\n", files[0].url, readable(known, "B"),
             present);
}

}  // namespace microdit::ingest
