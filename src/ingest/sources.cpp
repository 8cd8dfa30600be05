// Sources: urls, a hub repository's files, a tab-separated list, a folder's files.
#include "ingest/sources.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <sstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/utf8.h"
#include "ingest/address.h"
#include "ingest/file_pattern.h"
#include "ingest/files_by_name.h"
#include "ingest/hub.h"
#include "ingest/hub_cache.h"
#include "ingest/limits.h"
#include "ingest/raw_name.h"
#include "ingest/table_files.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= 9 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// The last path component of an address, without query and fragment.
std::string name_of_url(std::string_view url) {
  const std::string_view path = url.substr(0, url.find_first_of("?#"));
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (name.empty()) core::user_error("source.urls: {} names no file", shown(url));
  return std::string(name);
}

void check_scheme(std::string_view url, std::string_view origin) {
  if (url.starts_with("http://") || url.starts_with("https://")) return;
  if (url.starts_with("file:///")) return;
  if (url.starts_with("file://")) {
    core::user_error("{}: {}: a file:// address needs an absolute path (three slashes)", origin, shown(url));
  }
  core::user_error("{}: {}: only http://, https://, file:// and hf://datasets/ are read", origin, shown(url));
}

/// The hub's own form of a file's address, hf://datasets/ORG/NAME[@REVISION]/PATH, as it is asked for at the hub that is set.
std::optional<std::string> address_at_hub(const std::string& url, std::string_view origin) {
  constexpr std::string_view kForm = "hf://datasets/";
  if (!url.starts_with(kForm)) return std::nullopt;
  const std::string_view place = std::string_view(url).substr(kForm.size());
  const std::size_t name = place.find('/'), end = name == place.npos ? name : place.find('/', name + 1);
  if (end == place.npos || end + 1 == place.size())
    core::user_error("{}: {}: expected hf://datasets/ORG/NAME[@REVISION]/PATH", origin, shown(url));
  if (!is_safe_path(std::string(place.substr(end + 1))))
    core::user_error("{}: {}: the path may hold no '..'", origin, shown(url));
  SourceSection source;
  source.hub = place.substr(0, end);
  const HubPlace hub = hub_place(source);
  return hub.file_url(hub.revision, std::string(place.substr(end + 1)));
}

/// Where a file:// address points is this machine's affair; its name is the file's identity.
core::Json inputs_of_url(const std::string& name, const std::string& url) {
  if (url.starts_with("file://")) return {{"file", name}};
  return {{"file", name}, {"address", shown(url)}};
}

std::vector<RawFile> from_urls(const std::vector<std::string>& urls, const char* key) {
  std::vector<RawFile> files;
  for (const std::string& pattern : urls) {
    for (const std::string& url : expand_ranges(pattern)) {
      const std::optional<std::string> at_hub = address_at_hub(url, key);
      if (!at_hub) check_scheme(url, key);
      const std::string path = name_of_url(url), name = raw_name(path);
      files.push_back({.name = name,
                       .url = at_hub.value_or(url),
                       .path = path,
                       .inputs = inputs_of_url(name, url)});  // wherever the hub is
    }
  }
  return files;
}

std::vector<RawFile> from_hub(const SourceSection& source, const HubListing& listing) {
  const HubPlace hub = hub_place(source);
  std::vector<RawFile> files;
  for (const HubFile& file : listing(source)) {
    files.push_back({.name = raw_name(file.path),
                     .url = hub.file_url(file.commit, file.path),
                     .lies = file.lies,
                     .sha256 = file.sha256,
                     .bytes = file.bytes,
                     .path = file.path,
                     .inputs = {{"file", file.path}, {"hub", hub.repository}, {"commit", file.commit}}});
  }
  return files;
}

/// Whether a list's first line names a file already.
bool is_header(std::string_view line) {
  const std::size_t tab = line.find('\t');
  return tab == std::string_view::npos || line.find("://", tab) == std::string_view::npos;
}

std::vector<RawFile> from_list(const SourceSection& source) {
  if (std::error_code error; !fs::exists(source.list_file, error) && !error)
    core::user_error("source.list_file: {}: no such file; put the list{} there", source.list_file,
                     source.list_page.empty() ? "" : " that " + source.list_page + " offers");
  std::istringstream text(core::read_text(source.list_file));
  std::vector<RawFile> files;
  std::string line;
  for (int number = 1; std::getline(text, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || (number == 1 && is_header(line))) continue;
    const std::string origin = fmt::format("{}:{}", source.list_file, number);
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos || tab == 0)
      core::user_error("{}: expected: file name, a tab, an address", origin);
    const std::string name = line.substr(0, tab), url = line.substr(tab + 1);
    check_scheme(url, origin);
    files.push_back({.name = raw_name(name), .url = url, .path = name, .listed = origin});
  }
  // Signed addresses are renewed with other hosts and paths: the name is the identity.
  for (RawFile& file : files) file.inputs = {{"file", file.name}};
  return files;
}

/// Paths of the regular files in `folder`, relative to it.
std::vector<std::string> files_below(const fs::path& folder, bool deeper, const core::StopFlag& stop) {
  std::vector<std::string> paths;
  const auto take = [&](const fs::directory_entry& entry) {
    if (stop.requested()) throw core::Stopped();
    std::error_code error;
    if (!entry.is_regular_file(error) && !core::is_fault(error.value())) return;
    paths.push_back(entry.path().lexically_relative(folder).string());
    if (paths.size() > limits::kSourceFiles)
      core::user_error("source.folder: {} holds more than {} files", folder.string(), limits::kSourceFiles);
  };
  if (deeper) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) take(entry);
  } else {
    for (const auto& entry : fs::directory_iterator(folder)) take(entry);
  }
  return paths;
}

std::vector<RawFile> from_folder(const SourceSection& source, const core::StopFlag& stop) {
  const fs::path top = fs::absolute(source.folder).lexically_normal();
  const FilePatterns patterns(source.pattern, "source.pattern");
  const fs::path below = top / patterns.folder();
  if (!fs::is_directory(below)) core::user_error("source.folder: {}: no such folder", below.string());
  std::vector<std::string> paths = files_below(below, patterns.goes_deeper(), stop);
  for (std::string& path : paths) path = (fs::path(patterns.folder()) / path).string();
  std::vector<RawFile> files;
  for (const std::string& path : patterns.choose(paths, top.string())) {
    RawFile& file = files.emplace_back(RawFile{.name = raw_name(path), .lies = top / path, .path = path});
    file.inputs = {{"file", core::with_valid_utf8(path)}};
    if (stop.requested()) throw core::Stopped();
    struct stat about {};
    if (::stat(file.lies.c_str(), &about) == 0) {
      file.bytes = static_cast<std::int64_t>(about.st_size);
      file.inputs["bytes"] = file.bytes;
      file.inputs["mtime"] = std::int64_t{about.st_mtime};
    } else if (core::is_fault(errno)) {
      file.fault = fmt::format("{}: {}", file.lies.string(), std::strerror(errno));
    } else {
      core::errno_error(errno, "{}: cannot be read", file.lies.string());
    }
  }
  return files;
}

/// Where a file comes from, for messages.
std::string origin_of_file(const RawFile& file) {
  return file.lies.empty() ? shown(file.url) : file.lies.string();
}

/// Weights lie as their publisher's folder has them: networks are read by these names.
void name_as_published(const CatalogueEntry& entry, std::vector<RawFile>& files) {
  const fs::path folder = fs::path(files.front().path).parent_path();
  for (RawFile& file : files) {
    const fs::path path = file.path;
    if (path.parent_path() != folder)
      core::user_error("weights {}: {} and {} are of two folders: an entry takes the files of one",
                       entry.name, files.front().path, file.path);
    file.name = path.filename().string();
    if (raw_name(file.name) != file.name)
      core::user_error(
          "weights {}: {} is no name for a file of weights (ASCII letters, digits, '-', '_', '.')",
          entry.name, core::with_valid_utf8(file.path));
  }
}

void check_names(const CatalogueEntry& entry, const std::vector<RawFile>& files) {
  std::map<std::string, const RawFile*> names;
  for (const RawFile& file : files) {
    const auto [there, fresh] = names.emplace(file.name, &file);
    if (fresh) continue;
    core::user_error(
        "{} {}: two files are named {}: {} and {}; give each a name of its own in a source.list_file "
        "(per line: "
        "name, a tab, the address)",
        entry.is_weights() ? "weights" : "dataset", entry.name, file.name, origin_of_file(*there->second),
        origin_of_file(file));
  }
}

/// The first 1 %, at least one, to the end of a loose record; and what `tables` are made of.
std::vector<RawFile> first_hundredth(const std::vector<RawFile>& files, const CatalogueEntry& entry) {
  const std::vector<TableFiles> tables = table_files(entry);
  std::vector<RawFile> chosen, others;
  for (const RawFile& file : files) {
    const bool has_rows = is_table_file(tables, file.name, [&] { return file.path; });
    (has_rows ? chosen : others).push_back(file);
  }
  std::size_t count = (others.size() + 99) / 100;
  const auto stem = [&](std::size_t i) { return fs::path(others[i].path).replace_extension(); };
  while (entry.archive == "none" && count > 0 && count < others.size() && stem(count) == stem(count - 1))
    ++count;
  chosen.insert(chosen.end(), others.begin(), others.begin() + static_cast<std::ptrdiff_t>(count));
  return chosen;
}

std::vector<RawFile> small_subset(const std::vector<RawFile>& files, const CatalogueEntry& entry) {
  const SourceSection& source = entry.source;
  if (source.small.empty()) return first_hundredth(files, entry);
  const FilesByName names(files);
  std::vector<RawFile> chosen;
  for (const std::string& pattern : source.small) {
    for (const std::string& name : expand_ranges(pattern)) chosen.push_back(names.find(name, "source.small"));
  }
  return chosen;
}

}  // namespace

std::vector<std::string> expand_ranges(std::string_view pattern) {
  const std::size_t open = pattern.find('{');
  if (open == std::string_view::npos) return {std::string(pattern)};
  const std::size_t close = pattern.find('}', open);
  const std::string_view range =
      pattern.substr(open + 1, close == std::string_view::npos ? 0 : close - open - 1);
  const std::size_t dots = range.find("..");
  const std::string_view first = range.substr(0, dots);
  const std::string_view last = dots == std::string_view::npos ? std::string_view() : range.substr(dots + 2);
  if (!is_number(first) || !is_number(last) || std::stol(std::string(first)) > std::stol(std::string(last))) {
    core::user_error("source: '{}': a range is written {{0000..0007}}", shown(pattern));
  }
  std::vector<std::string> expanded;
  const std::vector<std::string> tails = expand_ranges(pattern.substr(close + 1));
  const long begin = std::stol(std::string(first)), end = std::stol(std::string(last));
  if (static_cast<std::size_t>(end - begin + 1) > limits::kSourceFiles / tails.size()) {
    core::user_error("source: '{}' names more than {} files", shown(pattern), limits::kSourceFiles);
  }
  for (long i = begin; i <= end; ++i) {
    for (const std::string& tail : tails) {
      expanded.push_back(fmt::format("{}{:0{}}{}", pattern.substr(0, open), i, first.size(), tail));
    }
  }
  return expanded;
}

std::vector<std::string> names_of_urls(const std::vector<std::string>& urls) {
  std::vector<std::string> names;
  for (const std::string& pattern : urls)
    for (const std::string& url : expand_ranges(pattern)) names.push_back(name_of_url(url));
  return names;
}

std::vector<RawFile> list_files(const CatalogueEntry& entry, const HubListing& hub,
                                const core::StopFlag& stop) {
  const SourceSection& source = entry.source;
  std::vector<RawFile> files = !source.hub.empty()      ? from_hub(source, hub)
                               : !source.urls.empty()   ? from_urls(source.urls, "source.urls")
                               : !source.folder.empty() ? from_folder(source, stop)
                                                        : from_list(source);
  if (files.empty())
    core::user_error("{} {}: its source names no file", entry.is_weights() ? "weights" : "dataset",
                     entry.name);
  if (entry.is_weights()) name_as_published(entry, files);
  std::vector<RawFile> also = from_urls(source.also, "source.also");
  {
    std::vector<RawFile> all = files;
    all.insert(all.end(), also.begin(), also.end());
    check_names(entry, all);
  }
  std::map<const RawFile*, std::string> digests;
  if (!source.sha256.empty()) {
    const FilesByName names(files);
    for (const auto& [name, digest] : source.sha256) digests[&names.find(name, "source.sha256")] = digest;
  }
  for (RawFile& file : files)
    if (const auto known = digests.find(&file); known != digests.end()) file.sha256 = known->second;
  if (entry.subset == "small") files = small_subset(files, entry);
  std::ranges::move(also, std::back_inserter(files));
  return files;
}

}  // namespace microdit::ingest
