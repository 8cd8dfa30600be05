// Brings one raw file into its folder: over HTTP, copied, or as a link to where it lies; checked before it counts.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "ingest/catalogue.h"
#include "ingest/http.h"
#include "ingest/rate_gate.h"
#include "ingest/sources.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// Says of a file's first bytes why they are none of `archive` (tar, tgz, zip, none), "" when they may be.
std::string why_no_archive(std::span<const std::byte> head, const std::string& name,
                           const std::string& archive);

class Fetcher {
 public:
  Fetcher(const CatalogueEntry& entry, std::string token);

  HttpClient& client() { return client_; }

  /// Fetches, checks and publishes `file` in `folder`; nothing when stopped, or when another process has been fetching
  /// it since before the first try. `on_bytes` may be called on any thread. UserError: it cannot be had, or is not what
  /// it should be (nothing of it stays); InputFault: a local one cannot be read; NotBefore: its host is to be left alone.
  std::optional<store::Record> fetch(const RawFile& file, const std::filesystem::path& folder,
                                     const std::function<void(double)>& on_bytes, const core::StopFlag& stop);

 private:
  std::optional<store::ShardEntry> over_http(const RawFile& file, const std::filesystem::path& final,
                                             const std::function<void(double)>& on_bytes,
                                             const core::StopFlag& stop);
  std::optional<store::ShardEntry> copied(const RawFile& file, const std::filesystem::path& final,
                                          const std::function<void(double)>& on_bytes,
                                          const core::StopFlag& stop);
  std::optional<store::ShardEntry> linked(const RawFile& file, const std::filesystem::path& final,
                                          const std::function<void(double)>& on_bytes,
                                          const core::StopFlag& stop);
  std::optional<PartialFile> open_partial(const std::filesystem::path& aside, const RawFile& file,
                                          const core::StopFlag& stop);
  bool first_time_busy(const std::string& name);
  void check(const RawFile& file, const store::ShardEntry& shard, const std::string& linked_sha256) const;

  const CatalogueEntry& entry_;
  RateGate gate_;
  HttpClient client_;
  std::mutex mutex_;
  std::set<std::string> busy_;
};

}  // namespace microdit::ingest
