// The catalogue of weights, as far as a message needs it: which file fills which folder.
#include "encoders/fetch_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <system_error>

#include "core/config.h"
#include "core/dataset_folder.h"
#include "core/shell_line.h"
#include "core/shipped.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

/// The entry's `name`; "" where its file has none on a line of its own.
std::string name_of_entry(const fs::path& file) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("name:")) continue;
    line = line.substr(5, line.find(" #", 5) - 5);
    std::erase_if(line, [](char c) { return c == ' ' || c == '"' || c == '\'' || c == '\r'; });
    return line;
  }
  return "";
}

/// As one would type it here.
std::string typed(const fs::path& path) {
  std::error_code error;
  const fs::path relative = path.lexically_relative(fs::current_path(error));
  return relative.empty() || *relative.begin() == ".." ? path.string() : relative.string();
}

}  // namespace

fs::path weights_entry(const fs::path& place) {
  const fs::path inside =
      core::whole_path(place).lexically_relative(core::whole_path(core::data_root() / "weights"));
  if (inside.empty() || *inside.begin() == "..") return {};
  const std::string name = inside.begin()->string();
  std::vector<fs::path> places = core::homes();
  std::ranges::rotate(places, places.end() - 1);  // where the user stands comes first: as it is typed there
  for (const fs::path& home : places) {
    std::error_code missing;
    std::vector<fs::path> entries;
    for (const auto& file : fs::directory_iterator(home / "configs/weights", missing))
      if (file.path().extension() == ".yaml") entries.push_back(file.path());
    std::ranges::sort(entries);
    for (const fs::path& entry : entries)
      if (name_of_entry(entry) == name) return typed(entry);
  }
  return {};
}

std::string how_to_fetch(const fs::path& place) {
  const fs::path entry = weights_entry(place);
  if (entry.empty()) return "";
  return "; to fetch it: " +
         core::shell_line({typed(core::program_folder() / "download"), "--config", entry.string()});
}

}  // namespace microdit::encoders
