// .call.json tells whose folder it is.
#include "eval/call_folder.h"

#include <algorithm>
#include <map>
#include <system_error>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;
constexpr const char* kCall = ".call.json";

bool is_of(const fs::path& folder, const core::Json& call) {
  std::error_code error;
  return fs::exists(folder / kCall, error) && core::read_text(folder / kCall) == call.dump(2) + "\n";
}

/// Number -> folder home/NNN-name.
std::map<std::int64_t, fs::path> numbered(const fs::path& home) {
  std::map<std::int64_t, fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(home, error)) {
    const std::string name = entry.path().filename().string();
    const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
    if (digits >= 3 && digits <= 9 && entry.is_directory() && !entry.is_symlink())
      found.emplace(std::stoll(name.substr(0, digits)), entry.path());
  }
  return found;
}

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

}  // namespace

std::string slug(const std::string& prompt) {
  constexpr std::size_t kLongest = 40;
  std::string out;
  for (char c : prompt) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (is_letter(c)) {
      out += c;
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
    if (out.size() == kLongest) break;
  }
  while (out.ends_with('-')) out.pop_back();
  return out.empty() ? "pictures" : out;
}

std::vector<fs::path> call_folders(const fs::path& home) {
  std::vector<fs::path> folders;
  for (const auto& [number, folder] : numbered(home)) folders.push_back(folder);
  return folders;
}

fs::path call_folder(const fs::path& home, const std::string& name, const core::Json& call, bool make) {
  const auto present = numbered(home);
  for (const auto& [number, folder] : present) {
    if (is_of(folder, call)) return folder;
  }
  std::int64_t number = present.empty() ? 1 : present.rbegin()->first + 1;
  const auto whole = [&] { return home / fmt::format("{:03}-{}", number, name); };
  if (!make) return whole();
  fs::create_directories(home);
  while (!fs::create_directory(whole())) ++number;  // another call took the number at the same moment
  core::write_json(whole() / kCall, call);
  return whole();
}

void check_named_folder(const fs::path& folder, const core::Json& call, bool make) {
  if (fs::exists(folder) && !fs::is_directory(folder))
    core::user_error("out={}: is a file; name a folder", folder.string());
  if (fs::exists(folder) && !is_of(folder, call)) {
    const auto foreign =
        std::find_if(fs::directory_iterator(folder), fs::directory_iterator(),
                     [](const auto& entry) { return !entry.path().filename().string().starts_with('.'); });
    if (foreign != fs::directory_iterator()) {
      core::user_error(
          "out={}: holds what this call did not make ({}); name another folder, or leave out= away",
          folder.string(), foreign->path().filename().string());
    }
  }
  if (!make) return;
  fs::create_directories(folder);
  if (!is_of(folder, call)) core::write_json(folder / kCall, call);
}

void point_latest(const fs::path& home, const fs::path& folder) {
  const fs::path link = home / "latest", aside = core::temporary_path(link);
  std::error_code error;
  fs::remove(aside, error);
  fs::create_symlink(folder.filename(), aside, error);
  if (!error) fs::rename(aside, link, error);
  if (error) {
    core::log_warn("{}: cannot be made ({}); the newest is {}", link.string(), error.message(),
                   folder.string());
    fs::remove(aside, error);
  }
}

}  // namespace microdit::eval
