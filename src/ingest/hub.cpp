// The hub: endpoint, token, commit, listing, pin.
#include "ingest/hub.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "core/atomic_file.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/log.h"
#include "ingest/address.h"
#include "ingest/file_pattern.h"
#include "ingest/hub_cache.h"
#include "text/strip.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

/// A revision may hold slashes (refs/pr/1), which belong to its name.
std::string escaped_name(std::string_view name) {
  std::string out = escaped_path(name);
  for (std::size_t at = 0; (at = out.find('/', at)) != std::string::npos;) out.replace(at, 1, "%2F");
  return out;
}

std::string api_url(const HubPlace& hub, std::string_view what) {
  return fmt::format("{}/api/{}/{}/{}", hub.endpoint, hub.of_models ? "models" : "datasets",
                     escaped_path(hub.repository), what);
}

/// Asks the hub for JSON; nothing when stopped.
std::optional<core::Json> ask(HttpClient& client, const std::string& url, std::string& next_page,
                              const core::StopFlag& stop) {
  const std::optional<TextAnswer> answer = client.text(url, stop);
  if (!answer) return std::nullopt;
  next_page = answer->next_page;
  return core::parse_json(answer->text, shown(url));
}

std::optional<std::string> commit_of(const HubPlace& hub, HttpClient& client, const core::StopFlag& stop) {
  if (is_commit(hub.revision)) return hub.revision;
  const std::string url = api_url(hub, "revision/" + escaped_name(hub.revision));
  std::string none;
  const std::optional<core::Json> answer = ask(client, url, none, stop);
  if (!answer) return std::nullopt;
  if (!answer->is_object() || !answer->contains("sha") || !(*answer)["sha"].is_string() ||
      !is_commit((*answer)["sha"].get<std::string>())) {
    core::user_error("{}: the hub names no commit (\"sha\")", shown(url));
  }
  return (*answer)["sha"].get<std::string>();
}

HubFile listed_file(const core::Json& entry, const std::string& commit, const std::string& url) {
  HubFile file{.commit = commit};
  try {
    file.path = entry.at("path").get<std::string>();
    file.bytes = entry.at("size").get<std::int64_t>();
    if (entry.contains("lfs") && entry["lfs"].is_object()) {
      file.sha256 = entry["lfs"].at("oid").get<std::string>();
      if (file.sha256.starts_with("sha256:")) file.sha256.erase(0, 7);
      file.bytes = entry["lfs"].at("size").get<std::int64_t>();
    }
  } catch (const core::Json::exception&) {
    core::user_error("{}: the hub's listing has an entry without path, size or lfs.oid", shown(url));
  }
  const bool good_hash =
      file.sha256.empty() ||
      (file.sha256.size() == 64 && file.sha256.find_first_not_of("0123456789abcdef") == std::string::npos);
  if (!is_safe_path(file.path) || file.bytes < 0 || !good_hash)
    core::user_error("{}: the hub's listing has an entry that is no file of a repository", shown(url));
  return file;
}

std::optional<std::vector<HubFile>> tree(const HubPlace& hub, const FilePatterns& patterns,
                                         HttpClient& client, const core::StopFlag& stop) {
  const std::optional<std::string> commit = commit_of(hub, client, stop);
  if (!commit) return std::nullopt;
  const std::string folder = patterns.folder();
  std::string url =
      api_url(hub, fmt::format("tree/{}{}{}?recursive={}&expand=false", *commit, folder.empty() ? "" : "/",
                               escaped_path(folder), patterns.goes_deeper() ? "true" : "false"));
  std::vector<HubFile> files;
  for (int pages = 1; !url.empty(); ++pages) {
    std::string next;
    const std::optional<core::Json> page = ask(client, url, next, stop);
    if (!page) return std::nullopt;
    if (!page->is_array()) core::user_error("{}: the hub's listing is no list", shown(url));
    for (const core::Json& entry : *page) {
      if (!entry.is_object() || !entry.contains("type") || entry["type"] != "file") continue;
      files.push_back(listed_file(entry, *commit, url));
    }
    const bool endless =
        page->empty() || files.size() > limits::kSourceFiles || pages >= limits::kListingPages;
    if (!next.empty() && endless) core::user_error("{}: the hub's listing has no end", shown(url));
    if (next.starts_with('/')) next = origin_of(url) + next;
    if (!next.empty() && origin_of(next) != origin_of(url))
      core::user_error("{}: the hub's listing goes on at {}: refused", shown(url), shown(next));
    url = next;
  }
  return files;
}

std::vector<HubFile> chosen(std::vector<HubFile> files, const FilePatterns& patterns, const HubPlace& hub) {
  std::map<std::string, const HubFile*> by_path;
  std::vector<std::string> paths;
  for (const HubFile& file : files) {
    by_path[file.path] = &file;
    paths.push_back(file.path);
  }
  std::vector<HubFile> found;
  const std::string where = fmt::format("{}@{}", hub.repository, hub.revision);
  for (const std::string& path : patterns.choose(paths, where)) found.push_back(*by_path.at(path));
  return found;
}

std::vector<HubFile> offline_files(const HubPlace& hub, const FilePatterns& patterns) {
  const HubCache cache(hub);
  const std::optional<std::string> commit = cache.commit_of(hub.revision);
  if (!commit) {
    core::user_error("source.hub: {}@{} is not in the cache {}, and HF_HUB_OFFLINE forbids to ask the hub",
                     hub.repository, hub.revision, cache.folder().string());
  }
  return chosen(cache.files(*commit), patterns, hub);
}

core::Json pin_of(const SourceSection& source, const std::vector<HubFile>& files) {
  core::Json list = core::Json::array();
  for (const HubFile& file : files)
    list.push_back(
        {{"path", file.path}, {"bytes", file.bytes}, {"sha256", file.sha256}, {"commit", file.commit}});
  return {{"hub", source.hub}, {"pattern", source.pattern}, {"files", std::move(list)}};
}

std::vector<HubFile> files_of(const core::Json& pin) {
  std::vector<HubFile> files;
  try {
    for (const core::Json& entry : pin.at("files")) {
      files.push_back({.path = entry.at("path").get<std::string>(),
                       .commit = entry.at("commit").get<std::string>(),
                       .bytes = entry.at("bytes").get<std::int64_t>(),
                       .sha256 = entry.at("sha256").get<std::string>()});
    }
  } catch (const core::Json::exception& wrong) {
    core::user_error(
        "{} of the raw folder is no listing of a hub's files ({}); remove it: the hub is asked again",
        kPinFile, wrong.what());
  }
  return files;
}

/// Files that did not change keep the commit that they were first listed at: their records name it.
void keep_commits(std::vector<HubFile>& files, const std::vector<HubFile>& before) {
  std::map<std::string, const HubFile*> known;
  for (const HubFile& file : before) known[file.path] = &file;
  for (HubFile& file : files) {
    const auto found = known.find(file.path);
    if (found == known.end() || file.sha256.empty()) continue;
    if (found->second->sha256 == file.sha256 && found->second->bytes == file.bytes)
      file.commit = found->second->commit;
  }
}

/// Writes the pin unless another task was first; returns what counts.
core::Json publish_pin(const fs::path& pin, const core::Json& own, bool replace) {
  fs::create_directories(pin.parent_path());
  if (replace) {
    core::write_json(pin, own);
    return own;
  }
  const fs::path aside = core::temporary_path(pin);
  core::write_json(aside, own);
  const bool first = ::link(aside.c_str(), pin.c_str()) == 0;
  const bool no_links = !first && errno != EEXIST;
  if (no_links) {
    core::publish(aside, pin);
  } else {
    fs::remove(aside);
    core::sync_folder(pin.parent_path());
  }
  return core::read_json(pin);
}

}  // namespace

std::string HubPlace::file_url(const std::string& commit, const std::string& path) const {
  return fmt::format("{}/{}{}/resolve/{}/{}", endpoint, of_models ? "" : "datasets/",
                     escaped_path(repository), commit, escaped_path(path));
}

std::string hub_endpoint() {
  std::string endpoint =
      core::variable("MICRODIT_HUB", core::variable("HF_ENDPOINT", "https://huggingface.co"));
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (!endpoint.starts_with("http://") && !endpoint.starts_with("https://"))
    core::user_error("MICRODIT_HUB (or HF_ENDPOINT): '{}' is no http(s):// address", shown(endpoint));
  return endpoint;
}

HubPlace hub_place(const SourceSection& source) {
  const std::size_t at = source.hub.find('@');
  HubPlace hub{hub_endpoint(), source.hub.substr(0, at),
               at == std::string::npos ? "main" : source.hub.substr(at + 1), source.hub_of_models};
  const bool safe = is_safe_path(hub.repository) && is_safe_path(hub.revision);
  if (!safe || std::ranges::count(hub.repository, '/') != 1 || hub.repository.ends_with('/'))
    core::user_error("source.hub: '{}' is not org/name[@revision]", source.hub);
  return hub;
}

std::string take_hub_token(const CatalogueEntry& entry) {
  std::string token = core::variable("HF_TOKEN");
  ::unsetenv("HF_TOKEN");
  const std::string file = core::variable("HF_TOKEN_FILE");
  if (!file.empty()) {
    struct stat about {};
    if (::stat(file.c_str(), &about) != 0) core::user_error("HF_TOKEN_FILE={}: no such file", file);
    if (about.st_mode & 077) core::user_error("HF_TOKEN_FILE={}: others may read it: chmod 600", file);
    token = core::read_text(file);
  }
  const fs::path home = core::variable("HF_HOME", core::variable("HOME", "/") + "/.cache/huggingface");
  std::error_code missing;
  if (token.empty() && fs::is_regular_file(home / "token", missing)) token = core::read_text(home / "token");
  token = std::string(text::strip(token));
  if (std::ranges::any_of(token, [](unsigned char c) { return c <= ' ' || c >= 0x7f; }))
    core::user_error("the hub's token (HF_TOKEN_FILE, HF_TOKEN or HF_HOME/token) is more than one word");
  if (entry.source.gated && token.empty()) {
    core::user_error(
        "{} {} is gated: accept its terms on the hub, then set HF_TOKEN_FILE to a file (mode 0600) with your "
        "token, or HF_TOKEN to the token",
        entry.kind == "weights" ? "weights" : "dataset", entry.name);
  }
  return token;
}

bool hub_is_offline() {
  const std::string value = core::variable("HF_HUB_OFFLINE");
  return value == "1" || value == "true" || value == "TRUE" || value == "True" || value == "yes" ||
         value == "YES" || value == "on" || value == "ON";
}

std::optional<std::vector<HubFile>> hub_files(const SourceSection& source, HttpClient& client,
                                              const core::StopFlag& stop) {
  const HubPlace hub = hub_place(source);
  const FilePatterns patterns(source.pattern, "source.pattern");
  if (hub_is_offline()) return offline_files(hub, patterns);
  std::optional<std::vector<HubFile>> files = tree(hub, patterns, client, stop);
  if (!files) return std::nullopt;
  files = chosen(std::move(*files), patterns, hub);
  const HubCache cache(hub);
  for (HubFile& file : *files) cache.find(file);
  return files;
}

std::optional<std::string> present_pin(const SourceSection& source, const fs::path& pin) {
  if (!fs::exists(pin)) return std::nullopt;
  const core::Json present = core::read_json(pin);
  files_of(present);
  const bool same = present.value("hub", "") == source.hub &&
                    present.value("pattern", std::vector<std::string>{}) == source.pattern;
  return same ? std::optional(present.dump()) : std::nullopt;
}

std::optional<std::string> pin_hub_files(const SourceSection& source, const fs::path& pin, HttpClient& client,
                                         const core::StopFlag& stop) {
  if (std::optional<std::string> present = present_pin(source, pin)) return present;
  std::vector<HubFile> before;
  const bool there = fs::exists(pin);
  if (there) before = files_of(core::read_json(pin));
  std::optional<std::vector<HubFile>> files = hub_files(source, client, stop);
  if (!files) return std::nullopt;
  keep_commits(*files, before);
  return publish_pin(pin, pin_of(source, *files), there).dump();
}

std::vector<HubFile> pinned_files(const SourceSection& source, const std::string& pin_text) {
  std::vector<HubFile> files = files_of(core::parse_json(pin_text, kPinFile));
  const HubCache cache(hub_place(source));
  for (HubFile& file : files) cache.find(file);
  return files;
}

}  // namespace microdit::ingest
