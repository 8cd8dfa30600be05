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
#include "core/hash.h"
#include "core/utf8.h"
#include "ingest/address.h"
#include "ingest/file_pattern.h"
#include "ingest/hub.h"
#include "ingest/limits.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= 9 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// Bytes: of a name under raw/, records' and temporaries' names are longer by up to 72; a folder allows 255.
constexpr std::size_t kLongestName = 180, kLongestFolders = 60, kLongestStem = 160, kShortestEnd = 10;
constexpr std::size_t kHashDigits = 8, kHashDigitsOfCut = 16;

/// ASCII letters, digits, '-', '_' and '.' as they are.
std::string plain_text(std::string_view text) {
  std::string plain;
  bool in_run = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool foreign = byte >= 0x80;
    if (foreign && !in_run) plain += 'x';
    in_run = foreign;
    if (foreign)
      plain += fmt::format("{:02x}", byte);
    else
      plain += std::isalnum(byte) || c == '-' || c == '_' || c == '.' ? c : '_';
  }
  return plain;
}

/// `plain` where it is `text` itself and at most `longest` bytes (10 at least); else cut, and marked by the text's hash.
std::string kept_apart(std::string_view text, std::string plain, std::size_t longest) {
  if (plain == text && plain.size() <= longest) return plain;
  const std::size_t roomy = longest >= 2 * (kHashDigitsOfCut + 1) ? kHashDigitsOfCut : kHashDigits;
  const std::size_t digits = plain.size() + kHashDigits + 1 > longest ? roomy : kHashDigits;
  plain.resize(std::min(plain.size(), longest - digits - 1));
  return plain + "-" + core::sha256(std::as_bytes(std::span(text))).substr(0, digits);
}

std::string without_dots(std::string plain) {
  std::ranges::replace(plain, '.', '_');
  return plain;
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
  core::user_error("{}: {}: only http://, https:// and file:// are read", origin, shown(url));
}

/// Where a file:// address points is this machine's affair; its name is the file's identity.
core::Json inputs_of_url(const std::string& name, const std::string& url) {
  if (url.starts_with("file://")) return {{"file", name}};
  return {{"file", name}, {"address", shown(url)}};
}

std::vector<RawFile> from_urls(const SourceSection& source) {
  std::vector<RawFile> files;
  for (const std::string& pattern : source.urls) {
    for (const std::string& url : expand_ranges(pattern)) {
      check_scheme(url, "source.urls");
      files.push_back({.name = raw_name(name_of_url(url)), .url = url});
    }
  }
  for (RawFile& file : files) file.inputs = inputs_of_url(file.name, file.url);
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
    const std::string url = line.substr(tab + 1);
    check_scheme(url, origin);
    files.push_back({.name = raw_name(line.substr(0, tab)), .url = url});
  }
  // Signed addresses are renewed with other hosts and paths: the name is the identity.
  for (RawFile& file : files) file.inputs = {{"file", file.name}};
  return files;
}

/// Paths of the regular files in `folder`, relative to it.
std::vector<std::string> files_below(const fs::path& folder, bool deeper) {
  std::vector<std::string> paths;
  const auto take = [&](const fs::directory_entry& entry) {
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

std::vector<RawFile> from_folder(const SourceSection& source) {
  const fs::path top = fs::absolute(source.folder).lexically_normal();
  const FilePatterns patterns(source.pattern, "source.pattern");
  const fs::path below = top / patterns.folder();
  if (!fs::is_directory(below)) core::user_error("source.folder: {}: no such folder", below.string());
  std::vector<std::string> paths = files_below(below, patterns.goes_deeper());
  for (std::string& path : paths) path = (fs::path(patterns.folder()) / path).string();
  std::vector<RawFile> files;
  for (const std::string& path : patterns.choose(paths, top.string())) {
    RawFile& file = files.emplace_back(RawFile{.name = raw_name(path), .lies = top / path});
    file.inputs = {{"file", core::with_valid_utf8(path)}};
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

void check_names(const CatalogueEntry& entry, const std::vector<RawFile>& files) {
  std::map<std::string, const RawFile*> names;
  for (const RawFile& file : files) {
    const auto [there, fresh] = names.emplace(file.name, &file);
    if (fresh) continue;
    core::user_error(
        "dataset {}: two files are named {}: {} and {}; give each a name of its own in a source.list_file "
        "(per line: "
        "name, a tab, the address)",
        entry.name, file.name, origin_of_file(*there->second), origin_of_file(file));
  }
  for (const auto& [name, digest] : entry.source.sha256) {
    if (!names.contains(name)) core::user_error("source.sha256: no file is named {}", name);
  }
}

std::vector<RawFile> small_subset(const std::vector<RawFile>& files, const SourceSection& source) {
  if (source.small.empty())
    return {files.begin(), files.begin() + static_cast<std::ptrdiff_t>((files.size() + 99) / 100)};
  std::map<std::string_view, const RawFile*> names;
  for (const RawFile& file : files) names.emplace(file.name, &file);
  std::vector<RawFile> chosen;
  for (const std::string& pattern : source.small) {
    for (const std::string& name : expand_ranges(pattern)) {
      const auto found = names.find(name);
      if (found == names.end()) core::user_error("source.small: no file is named {}", name);
      chosen.push_back(*found->second);
    }
  }
  return chosen;
}

}  // namespace

std::string raw_name(std::string_view path) {
  const std::size_t last = path.rfind('/') + 1;  // npos + 1 is 0
  const std::size_t stem_end = std::min(path.find('.', last + 1), path.size());
  const std::size_t suffix_at =
      std::max(path.rfind('.') + 1, stem_end + 1) - 1;  // the last dot behind the stem
  const std::string_view folders = path.substr(0, last), stem = path.substr(last, stem_end - last);
  const std::string_view middle = path.substr(stem_end, suffix_at - stem_end),
                         suffix = path.substr(suffix_at);
  std::string name;
  if (!folders.empty()) {
    const std::string plain = without_dots(plain_text(folders.substr(0, last - 1)));
    name = kept_apart(folders, plain, kLongestFolders) + "_";
  }
  name += kept_apart(stem, without_dots(plain_text(stem)), kLongestStem - name.size());
  name += kept_apart(middle, plain_text(middle), kLongestName - kShortestEnd - name.size());
  // "x.failed.json" and "x.part.json" are no records of "x.failed" and "x.part".
  const bool is_taken = suffix == ".failed" || suffix == ".part";
  return name + kept_apart(suffix, plain_text(suffix) + (is_taken ? "_" : ""), kLongestName - name.size());
}

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

std::vector<RawFile> list_files(const CatalogueEntry& entry, const HubListing& hub) {
  const SourceSection& source = entry.source;
  std::vector<RawFile> files = !source.hub.empty()      ? from_hub(source, hub)
                               : !source.urls.empty()   ? from_urls(source)
                               : !source.folder.empty() ? from_folder(source)
                                                        : from_list(source);
  if (files.empty()) core::user_error("dataset {}: its source names no file", entry.name);
  check_names(entry, files);
  for (RawFile& file : files) {
    const auto known = source.sha256.find(file.name);
    if (known != source.sha256.end()) file.sha256 = known->second;
  }
  return entry.subset == "small" ? small_subset(files, source) : files;
}

}  // namespace microdit::ingest
