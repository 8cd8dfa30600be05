// Sources: urls, a hub repository's files, a tab-separated list; "{0000..0007}" expands in all of them.
#include "ingest/sources.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <sstream>

#include "core/atomic_file.h"
#include "core/error.h"

namespace microdit::ingest {
namespace {

constexpr std::size_t kMaxFiles = 1'000'000;

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= 9 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// A safe name under raw/: foreign characters become '_', a leading dot too.
std::string plain_name(std::string_view text) {
  std::string name(text);
  for (char& c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
    if (!plain) c = '_';
  }
  if (!name.empty() && name[0] == '.') name[0] = '_';
  return name;
}

/// The last path component of an address, without query and fragment.
std::string name_of_url(std::string_view url) {
  const std::string_view path = url.substr(0, url.find_first_of("?#"));
  const std::string name = plain_name(path.substr(path.rfind('/') + 1));
  if (name.empty()) core::user_error("source.urls: {} names no file", url);
  return name;
}

void check_scheme(std::string_view url, std::string_view origin) {
  if (url.starts_with("http://") || url.starts_with("https://")) return;
  if (url.starts_with("file:///")) return;
  if (url.starts_with("file://")) {
    core::user_error("{}: {}: a file:// address needs an absolute path (three slashes)", origin, url);
  }
  core::user_error("{}: {}: only http://, https:// and file:// are read", origin, url);
}

std::vector<RawFile> from_urls(const SourceSection& source) {
  std::vector<RawFile> files;
  for (const std::string& pattern : source.urls) {
    for (const std::string& url : expand_ranges(pattern)) {
      check_scheme(url, "source.urls");
      files.push_back({name_of_url(url), url, ""});
    }
  }
  return files;
}

std::vector<RawFile> from_hub(const SourceSection& source) {
  const char* endpoint = std::getenv("MICRODIT_HUB");
  const std::string base = endpoint && *endpoint ? endpoint : "https://huggingface.co";
  check_scheme(base, "MICRODIT_HUB");
  const std::size_t at = source.hub.find('@');
  const std::string repository = source.hub.substr(0, at);
  const std::string revision = at == std::string::npos ? "main" : source.hub.substr(at + 1);
  if (std::ranges::count(repository, '/') != 1 || revision.empty()) {
    core::user_error("source.hub: '{}' is not org/name[@revision]", source.hub);
  }
  std::vector<RawFile> files;
  for (const std::string& pattern : source.pattern) {
    for (const std::string& path : expand_ranges(pattern)) {
      files.push_back({plain_name(path),
                       fmt::format("{}/datasets/{}/resolve/{}/{}", base, repository, revision, path), ""});
    }
  }
  return files;
}

std::vector<RawFile> from_list(const SourceSection& source) {
  std::istringstream text(core::read_text(source.list_file));
  std::vector<RawFile> files;
  std::string line;
  std::getline(text, line);  // the header
  for (int number = 2; std::getline(text, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    const std::string origin = fmt::format("{}:{}", source.list_file, number);
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos || tab == 0)
      core::user_error("{}: expected: file name, a tab, an address", origin);
    const std::string url = line.substr(tab + 1);
    check_scheme(url, origin);
    files.push_back({plain_name(line.substr(0, tab)), url, ""});
  }
  return files;
}

std::vector<RawFile> small_subset(const std::vector<RawFile>& files, const SourceSection& source) {
  if (source.small.empty())
    return {files.begin(), files.begin() + static_cast<std::ptrdiff_t>((files.size() + 99) / 100)};
  std::vector<RawFile> chosen;
  for (const std::string& pattern : source.small) {
    for (const std::string& name : expand_ranges(pattern)) {
      const auto found = std::ranges::find(files, name, &RawFile::name);
      if (found == files.end()) core::user_error("source.small: no file is named {}", name);
      chosen.push_back(*found);
    }
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
    core::user_error("source: '{}': a range is written {{0000..0007}}", pattern);
  }
  std::vector<std::string> expanded;
  const std::vector<std::string> tails = expand_ranges(pattern.substr(close + 1));
  const long begin = std::stol(std::string(first)), end = std::stol(std::string(last));
  if (static_cast<std::size_t>(end - begin + 1) > kMaxFiles / tails.size()) {
    core::user_error("source: '{}' names more than {} files", pattern, kMaxFiles);
  }
  for (long i = begin; i <= end; ++i) {
    for (const std::string& tail : tails) {
      expanded.push_back(fmt::format("{}{:0{}}{}", pattern.substr(0, open), i, first.size(), tail));
    }
  }
  return expanded;
}

std::vector<RawFile> list_files(const CatalogueEntry& entry) {
  const SourceSection& source = entry.source;
  std::vector<RawFile> files = !source.hub.empty()    ? from_hub(source)
                               : !source.urls.empty() ? from_urls(source)
                                                      : from_list(source);
  if (files.empty()) core::user_error("dataset {}: its source names no file", entry.name);
  std::set<std::string> names;
  for (RawFile& file : files) {
    if (!names.insert(file.name).second)
      core::user_error("dataset {}: two files are named {}", entry.name, file.name);
    const auto known = source.sha256.find(file.name);
    if (known != source.sha256.end()) file.sha256 = known->second;
  }
  for (const auto& [name, digest] : source.sha256) {
    if (!names.contains(name)) core::user_error("source.sha256: no file is named {}", name);
  }
  return entry.subset == "small" ? small_subset(files, source) : files;
}

}  // namespace microdit::ingest
