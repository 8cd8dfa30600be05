// Counters as JSON; marks as files that exist or not.
#include "lives/ledger.h"

#include <fmt/ranges.h>

#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "lives/command.h"

namespace microdit::lives {

namespace fs = std::filesystem;

Ledger::Ledger(fs::path dir, bool afresh) : dir_(std::move(dir)) {
  std::error_code error;
  if (afresh) fs::remove_all(dir_, error);
  fs::create_directories(dir_, error);
  if (error)
    core::user_error(
        "{}: the job's bookkeeping cannot be written: {}; set MICRODIT_STATE to a folder of yours that all "
        "nodes see",
        dir_.string(), error.message());
  if (!fs::exists(counters_file())) return;
  const core::Json stored = core::read_json(counters_file());
  counters = {stored.value("lives", std::int64_t{0}), stored.value("fruitless", std::int64_t{0}),
              stored.value("faults", std::int64_t{0})};
}

void Ledger::save() const {
  core::write_json(
      counters_file(),
      core::Json{{"lives", counters.lives}, {"fruitless", counters.fruitless}, {"faults", counters.faults}});
}

void Ledger::remove() const {
  std::error_code ignored;
  fs::remove_all(dir_, ignored);
}

void Ledger::begin_life() const {
  for (const fs::path& file : {progress_file(), ranks_file(), faults_file()}) fs::remove(file);
}

bool Ledger::progress() const {
  std::error_code none;
  return fs::exists(progress_file(), none);
}
bool Ledger::ranks_began() const {
  std::error_code none;
  return fs::exists(ranks_file(), none);
}
std::string Ledger::faulty_nodes() const {
  std::error_code none;
  if (!fs::exists(faults_file(), none)) return "";
  const Words words = split_words(core::read_text(faults_file()));
  return fmt::format("{}", fmt::join(std::set<std::string>(words.begin(), words.end()), ","));
}

}  // namespace microdit::lives
