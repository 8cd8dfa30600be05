// The source's listing, the other way round.
#include "ingest/raw_paths.h"

#include <sstream>

#include "core/atomic_file.h"
#include "ingest/hub.h"
#include "ingest/raw_name.h"

namespace microdit::ingest {

namespace fs = std::filesystem;

RawPaths::RawPaths(const CatalogueEntry& entry) {
  if (!entry.source.folder.empty()) {
    folder_ = fs::absolute(entry.source.folder).lexically_normal();
    links_ = entry.raw_folder();
  }
  if (const std::string& list = entry.source.list_file; !list.empty() && fs::exists(list)) {
    std::istringstream lines(core::read_text(list));
    for (std::string line; std::getline(lines, line);)
      if (const std::size_t tab = line.find('\t'); tab != line.npos)
        paths_[raw_name(line.substr(0, tab))] = line.substr(0, tab);
  }
  for (const auto* addresses : {&entry.source.urls, &entry.source.also})
    for (const std::string& name : names_of_urls(*addresses)) paths_[raw_name(name)] = name;
  const fs::path pin = entry.raw_folder() / kPinFile;
  if (!entry.source.hub.empty() && fs::exists(pin))
    for (const HubFile& file : pinned_files(entry.source, core::read_text(pin)))
      paths_[raw_name(file.path)] = file.path;
}

std::string RawPaths::of(const std::string& file) const {
  if (!folder_.empty()) {  // raw/ has links into it
    std::error_code none;
    const fs::path lies = fs::read_symlink(links_ / file, none);
    const std::string path = lies.lexically_relative(folder_).string();
    if (!none && !path.empty() && !path.starts_with("..")) return path;
  }
  const auto known = paths_.find(file);
  return known == paths_.end() ? file : known->second;
}

}  // namespace microdit::ingest
