// Transfer, copy or link; first bytes, size, hash; publication.
#include "ingest/fetcher.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <vector>

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "ingest/address.h"
#include "ingest/archive_kind.h"
#include "ingest/hub.h"
#include "ingest/table_files.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
constexpr double kBusyWait_s = 5;     ///< for an orphan of an earlier life to end
constexpr double kLongestWait_s = 5;  ///< with a thread kept; a longer one sets the file aside

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Whether a 512-byte block is a tar header of any age, or the zero block that ends an archive.
bool is_tar_block(std::string_view head) {
  if (head.size() < 512) return false;
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i)
    sum += i >= 148 && i < 156 ? unsigned{' '} : static_cast<unsigned char>(head[i]);
  if (sum == 8 * unsigned{' '}) return true;
  unsigned said = 0;
  for (const char c : head.substr(148, 8))
    if (c >= '0' && c <= '7') said = said * 8 + static_cast<unsigned>(c - '0');
  return said == sum;
}

HttpOptions options_of(const CatalogueEntry& entry, std::string token, RateGate& gate) {
  const SourceSection& source = entry.source;
  HttpOptions options;
  options.max_attempts = source.max_attempts;
  options.backoff_s = source.backoff_s;
  options.max_file_bytes = static_cast<std::uint64_t>(source.max_file_bytes);
  options.allow_hosts = source.allow_hosts;
  options.longest_wait_s = kLongestWait_s;
  options.hub_origin = origin_of(hub_endpoint());
  options.token = std::move(token);
  options.hub_is_offline = hub_is_offline();
  // The endpoint is the user's own word, not the entry's: it may be a mirror of the site.
  options.allow_hosts.push_back(host_name_of(hub_endpoint()));
  options.before_hub = [&gate](const std::string& url) { return gate.turn(url); };
  options.after_hub = [&gate](const std::string& url, const ResponseHeaders& headers) {
    gate.note(url, headers);
  };
  return options;
}

fs::path gate_file() {
  const std::string host = host_name_of(hub_endpoint());
  std::string name = host;
  std::ranges::replace_if(
      name, [](unsigned char c) { return !std::isalnum(c) && c != '.' && c != '-'; }, '_');
  return core::data_root() / "raw" / fmt::format(".quota_{}.json", name);
}

/// Reads a local file to its end; false when stopped.
template <class Take>
bool read_local(const fs::path& path, const core::StopFlag& stop, const Take& take) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) core::input_error(errno, "{}: cannot be opened", path.string());
  std::vector<std::byte> block(1 << 20);
  bool whole = false;
  while (!whole && !stop.requested()) {
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got < 0) {
      const int error = errno;
      ::close(fd);
      core::input_error(error, "{}: cannot be read", path.string());
    }
    whole = got == 0;
    take(std::span(block).first(static_cast<std::size_t>(got)));
  }
  ::close(fd);
  return whole;
}

void require_local(const RawFile& file, const fs::path& path) {
  std::error_code missing;
  if (fs::is_regular_file(path, missing)) return;
  if (core::is_fault(missing.value())) core::input_error(missing.value(), "{}", path.string());
  core::user_error("{}: no such file; make or fetch it first", file.url.empty() ? path.string() : file.url);
}

/// A signed address of a list expires; "" for any other file.
std::string when_refused(const SourceSection& source, const RawFile& file) {
  if (file.listed.empty()) return "";
  return fmt::format(
      ": the address in {} may have expired; put a new list{} there, and the same command continues where it "
      "was",
      file.listed, source.list_page.empty() ? "" : " (" + source.list_page + ")");
}

}  // namespace

std::string why_no_archive(std::span<const std::byte> head, const std::string& name,
                           const std::string& archive) {
  const std::string_view kind = kind_of(text_of(head));
  if (kind == "git_lfs") {
    return fmt::format(
        "{} is a Git LFS pointer, not the file itself: take the address that serves the content "
        "(on the hub: /resolve/)",
        name);
  }
  const bool page =
      kind == "html" && !name.ends_with(".html") && !name.ends_with(".xml") && !name.ends_with(".svg");
  if (page) {
    return fmt::format("{} is a web page, no file: the address needs a sign-in, or a signed one has expired",
                       name);
  }
  if (archive == "none") return "";
  if (head.empty()) return fmt::format("{} is empty, no {}", name, archive);
  const std::string_view wanted = archive == "tgz" || archive == "gz" ? "gzip" : std::string_view(archive);
  if (kind == wanted || (archive == "tar" && is_tar_block(text_of(head)))) return "";
  if (kind == "gzip" || kind == "tar" || kind == "zip") {
    return fmt::format("{} is {}, no {}: set archive: {} in the entry", name, kind, archive,
                       kind == "gzip" ? "tgz" : kind);
  }
  return fmt::format("{} is no {}{}: another file, or a damaged one", name, archive,
                     kind.empty() ? "" : fmt::format(" but {}", kind));
}

Fetcher::Fetcher(const CatalogueEntry& entry, std::string token)
    : entry_(entry),
      gate_(gate_file(), hub_endpoint() == "https://huggingface.co"),
      client_(options_of(entry, std::move(token), gate_)) {}

std::optional<store::Record> Fetcher::fetch(const RawFile& file, const fs::path& folder,
                                            const std::function<void(double)>& on_bytes,
                                            const core::StopFlag& stop) {
  const fs::path final = folder / file.name;
  const std::optional<store::ShardEntry> shard = !file.lies.empty() ? linked(file, final, on_bytes, stop)
                                                 : file.url.starts_with("file://")
                                                     ? copied(file, final, on_bytes, stop)
                                                     : over_http(file, final, on_bytes, stop);
  if (!shard) return std::nullopt;
  return store::Record{file.name, {*shard}, core::Json::object()};
}

bool Fetcher::first_time_busy(const std::string& name) {
  const std::lock_guard lock(mutex_);
  return busy_.insert(name).second;
}

std::optional<PartialFile> Fetcher::open_partial(const fs::path& aside, const RawFile& file,
                                                 const core::StopFlag& stop) {
  const HeadCheck check_head = [&](std::span<const std::byte> head) {
    return why_no_archive(head, fmt::format("{} ({})", file.name, shown(file.url)),
                          archive_of(entry_, file.name, file.path));
  };
  const core::Json what_it_is =
      file.sha256.empty() ? file.inputs : core::Json{{"file", file.name}, {"sha256", file.sha256}};
  const std::string what = what_it_is.dump(-1, ' ', true, core::Json::error_handler_t::replace);
  if (std::optional<PartialFile> partial = PartialFile::open(aside, check_head, what)) return partial;
  if (first_time_busy(file.name)) {
    core::user_error("{}: another process is downloading this file; it is tried again after the others",
                     aside.string());
  }
  if (sleep_unless_stopped(kBusyWait_s, stop)) {
    if (std::optional<PartialFile> partial = PartialFile::open(aside, check_head, what)) return partial;
  }
  core::log_warn("{}: another process is still downloading this file: start again when it has ended",
                 aside.string());
  return std::nullopt;
}

std::optional<store::ShardEntry> Fetcher::over_http(const RawFile& file, const fs::path& final,
                                                    const std::function<void(double)>& on_bytes,
                                                    const core::StopFlag& stop) {
  if (hub_is_offline() && origin_of(file.url) == origin_of(hub_endpoint())) {
    core::user_error("{}: {}HF_HUB_OFFLINE forbids to fetch it from the hub", file.name,
                     entry_.source.hub.empty() ? "" : "is not in the hub's cache, and ");
  }
  client_.check_turn(file.url);
  const fs::path aside = final.parent_path() / fmt::format(".{}.part", file.name);
  std::optional<PartialFile> partial = open_partial(aside, file, stop);
  if (!partial) return std::nullopt;
  std::optional<Fetched> fetched;
  try {
    fetched = client_.fetch({.url = file.url,
                             .expected_bytes = file.bytes,
                             .on_bytes = on_bytes,
                             .when_refused = when_refused(entry_.source, file)},
                            *partial, stop);
    if (!fetched) return std::nullopt;
    partial->require_head();
  } catch (...) {
    if (partial->version().validator().empty()) partial->discard();  // it cannot be continued
    throw;
  }
  const std::optional<std::string> sha256 = partial->sha256(stop);
  if (!sha256) return std::nullopt;
  const store::ShardEntry shard{file.name, 0, partial->bytes(), *sha256};
  try {
    check(file, shard, fetched->linked_sha256);
  } catch (const core::UserError&) {
    partial->discard();
    throw;
  }
  partial->publish(final);
  return shard;
}

std::optional<store::ShardEntry> Fetcher::copied(const RawFile& file, const fs::path& final,
                                                 const std::function<void(double)>& on_bytes,
                                                 const core::StopFlag& stop) {
  const fs::path source = path_of_file_url(file.url);
  require_local(file, source);
  require_free_space(final.parent_path(), core::input_bytes(source).value_or(0));
  const fs::path aside = core::temporary_path(final);
  try {
    std::optional<PartialFile> copy = PartialFile::open(aside, [&](std::span<const std::byte> head) {
      return why_no_archive(head, fmt::format("{} ({})", file.name, file.url),
                            archive_of(entry_, file.name, file.path));
    });
    core::check(copy.has_value(), "{}: is locked", aside.string());
    const bool whole = read_local(source, stop, [&](std::span<const std::byte> bytes) {
      copy->append(bytes);
      on_bytes(static_cast<double>(bytes.size()));
    });
    if (whole) copy->require_head();
    const std::optional<std::string> sha256 = whole ? copy->sha256(stop) : std::nullopt;
    if (!sha256) {
      copy->discard();
      return std::nullopt;
    }
    const store::ShardEntry shard{file.name, 0, copy->bytes(), *sha256};
    check(file, shard, "");
    copy->publish(final);
    return shard;
  } catch (...) {
    std::error_code ignored;
    fs::remove(aside, ignored);
    throw;
  }
}

std::optional<store::ShardEntry> Fetcher::linked(const RawFile& file, const fs::path& final,
                                                 const std::function<void(double)>& on_bytes,
                                                 const core::StopFlag& stop) {
  require_local(file, file.lies);
  core::Sha256 hash;
  store::ShardEntry shard{file.name, 0, 0, ""};
  const bool whole = read_local(file.lies, stop, [&](std::span<const std::byte> bytes) {
    if (shard.bytes == 0) {
      const auto head = bytes.first(std::min(bytes.size(), limits::kHeadBytes));
      const std::string archive = archive_of(entry_, file.name, file.path);
      // Nobody sent it: a page among a user's own pictures is one bad picture, and clean's to count.
      const bool any = archive == "none" && kind_of(text_of(head)) == "html";
      const std::string why = any ? "" : why_no_archive(head, file.lies.string(), archive);
      if (!why.empty()) core::user_error("{}", why);
    }
    hash.update(bytes);
    shard.bytes += bytes.size();
    on_bytes(static_cast<double>(bytes.size()));
  });
  if (!whole) return std::nullopt;
  shard.sha256 = hash.hex_digest();
  if (file.bytes >= 0 && shard.bytes != static_cast<std::uint64_t>(file.bytes))
    core::user_error("{}: holds {} bytes, not the {} that were listed; did it just change?",
                     file.lies.string(), shard.bytes, file.bytes);
  check(file, shard, "");
  const fs::path aside = core::temporary_path(final);
  fs::create_symlink(file.lies, aside);
  fs::rename(aside, final);
  core::sync_folder(final.parent_path());
  return shard;
}

void Fetcher::check(const RawFile& file, const store::ShardEntry& shard,
                    const std::string& linked_sha256) const {
  const std::string from = file.lies.empty() ? shown(file.url) : file.lies.string();
  const std::string& expected = file.sha256.empty() ? linked_sha256 : file.sha256;
  if (!expected.empty() && shard.sha256 != expected) {
    const bool own = entry_.source.sha256.contains(file.name) || entry_.source.sha256.contains(file.path);
    core::user_error(
        "{} ({}): SHA-256 is {}, but {} says {}: the file at the source is damaged or another one", file.name,
        from, shard.sha256, own ? "source.sha256" : "the hub", expected);
  }
}

}  // namespace microdit::ingest
