// Opening a run for the first time and again.
#include "train/run_folder.h"

#include <fmt/ranges.h>

#include "core/atomic_file.h"
#include "core/error.h"

namespace microdit::train {
namespace {

using core::Json;

bool is_harmless(const std::string& key, const std::vector<std::string>& harmless) {
  for (const std::string& prefix : harmless) {
    if (key == prefix || key.starts_with(prefix + ".")) return true;
  }
  return false;
}

void compare(const Json& a, const Json& b, const std::string& at, const std::vector<std::string>& harmless,
             std::vector<std::string>& out) {
  if (is_harmless(at, harmless)) return;
  if (a.is_object() && b.is_object()) {
    const auto below = [&](const std::string& key) { return at.empty() ? key : at + "." + key; };
    for (const auto& [key, value] : a.items()) {
      compare(value, b.contains(key) ? b[key] : Json(), below(key), harmless, out);
    }
    for (const auto& [key, value] : b.items()) {
      if (!a.contains(key)) compare(Json(), value, below(key), harmless, out);
    }
  } else if (a != b) {
    out.push_back(fmt::format("{}: {} -> {}", at, a.dump(), b.dump()));
  }
}

}  // namespace

std::vector<std::string> differing_settings(const Json& old_settings, const Json& new_settings,
                                            const std::vector<std::string>& harmless) {
  std::vector<std::string> out;
  compare(old_settings, new_settings, "", harmless, out);
  return out;
}

void RunFolder::open(const Json& settings, const std::string& config_yaml, const Json& facts,
                     const std::vector<std::string>& harmless, comm::Communicator& comm) const {
  std::string error;
  if (comm.rank() == 0) {
    std::filesystem::create_directories(path_);
    core::remove_stale_temporaries(path_);
    std::vector<std::string> differing;
    if (std::filesystem::exists(this->settings())) {
      differing = differing_settings(core::read_json(this->settings()), settings, harmless);
    }
    if (std::filesystem::exists(this->facts())) {
      for (std::string& line : differing_settings(core::read_json(this->facts()), facts, {})) {
        differing.push_back("facts of the data: " + line);
      }
    }
    if (!differing.empty()) {
      error = fmt::format(
          "{}: the run was started with other settings:\n  {}\nChange them back, or give the run "
          "another name (name=...), or remove the folder.",
          path_.string(), fmt::join(differing, "\n  "));
    } else {
      std::filesystem::create_directories(samples());
      std::filesystem::create_directories(checkpoints());
      core::write_json(this->facts(), facts);
      core::write_json(this->settings(), settings);
      core::atomic_write(config(), config_yaml);
    }
  }
  comm.broadcast(error, 0);
  if (!error.empty()) throw core::UserError(error);
}

}  // namespace microdit::train
