// doctor verify: finds what carries checksums at and below a folder, and checks it all.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "core/error.h"
#include "core/shown_text.h"
#include "doctor.h"
#include "doctor_folders.h"
#include "store/manifest.h"
#include "stream/mds_verify.h"
#include "tables/table_file.h"

namespace microdit::jobs {
namespace {

namespace fs = std::filesystem;

/// Of a raw folder: what clean has made of its tables.
std::vector<fs::path> tables_in(const fs::path& folder) {
  std::vector<fs::path> tables;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder / "tables", none))
    if (entry.path().extension() == ".table" && !entry.path().filename().string().starts_with('.'))
      tables.push_back(entry.path());
  std::ranges::sort(tables);
  return tables;
}

/// Lines "FOLDER/FILE: what".
struct Found {
  std::string damage;
  std::string unread;  ///< a device failed under it: no verdict
};

/// What `look` throws is damage, or no verdict; said behind `place` where it does not name its file itself.
template <class Look>
void noting(Found& found, const fs::path& place, const Look& look) {
  try {
    look();
  } catch (const std::exception& error) {
    const core::Verdict verdict = core::judge(error);
    const std::string before = verdict.message.starts_with(place.string()) ? "" : place.string() + ": ";
    (verdict.exit_code == core::kHardwareFault ? found.unread : found.damage) +=
        core::without_controls(before + verdict.message) + "\n";
  }
}

void check(const StoredFolder& target, Found& found) {
  std::string& lines = found.damage;
  noting(found, target.folder, [&] {
    if (target.kind == Stored::checkpoint) {
      for (const std::string& damage : checkpoint::verify(target.folder)) {
        lines += core::without_controls((target.folder / damage).string()) + "\n";
      }
      return;
    }
    const auto verify = target.kind == Stored::mds ? stream::verify_mds : store::verify;
    for (const store::Damage& damage : verify(target.folder)) {
      lines +=
          core::without_controls(fmt::format("{}: {}", (target.folder / damage.file).string(), damage.what)) +
          "\n";
    }
  });
  for (const fs::path& table : tables_in(target.folder))
    noting(found, table, [&] { tables::TableFile(table).verify(); });
}

bool none(const std::vector<std::string>& texts) {
  return std::ranges::all_of(texts, [](const std::string& text) { return text.empty(); });
}

}  // namespace

int verify_tree(const std::string& where, comm::Communicator& comm) {
  const std::vector<StoredFolder> targets = find_stored("verify", where);
  if (targets.empty()) {
    core::user_error(
        "doctor: verify {}: nothing in it carries checksums; name a folder of raw, samples or latents, a "
        "checkpoint, a run, or a folder of these",
        where);
  }
  Found found;
  const auto ranks = static_cast<std::size_t>(comm.size());
  for (std::size_t i = static_cast<std::size_t>(comm.rank()); i < targets.size(); i += ranks)
    check(targets[i], found);
  const std::vector<std::string> damage = comm.all_gather(found.damage);
  const std::vector<std::string> unread = comm.all_gather(found.unread);
  if (comm.rank() == 0) {
    for (const auto* all : {&damage, &unread})
      for (const std::string& text : *all) fmt::print("{}", text);
    const auto count = [&](Stored kind) {
      return std::count_if(targets.begin(), targets.end(),
                           [=](const StoredFolder& t) { return t.kind == kind; });
    };
    const auto mds = count(Stored::mds);
    std::size_t tables = 0;
    for (const StoredFolder& target : targets) tables += tables_in(target.folder).size();
    fmt::print("{}: {} stage folders, {} checkpoints{}{}: {}\n", where, count(Stored::stage),
               count(Stored::checkpoint), mds > 0 ? fmt::format(", {} MDS folders", mds) : "",
               tables > 0 ? fmt::format(", {} tables", tables) : "",
               !none(damage)   ? "DAMAGED"
               : !none(unread) ? "could not all be read; another node may read them"
                               : "good");
    std::fflush(stdout);
  }
  comm.barrier();  // a rank that exits with 1 makes the launcher end the others: the report comes first
  if (!none(damage)) return core::kFailed;
  return none(unread) ? core::kDone : core::kHardwareFault;
}

}  // namespace microdit::jobs
