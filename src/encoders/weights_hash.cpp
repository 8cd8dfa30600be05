// Hashing 10 GB takes a minute on every rank of every start; size and time of change tell whether it is needed.
#include "encoders/weights_hash.h"

#include <sys/stat.h>

#include <cerrno>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

core::Json stamp_of(const fs::path& file) {
  struct stat found {};
  if (::stat(file.c_str(), &found) != 0) core::errno_error(errno, "{}: cannot be read", file.string());
  return {{"bytes", found.st_size},
          {"changed_ns", std::int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec}};
}

/// What is kept for all files of a folder; nothing where it cannot be read or is no object.
core::Json read_kept(const fs::path& kept) {
  try {
    if (fs::exists(kept))
      if (core::Json all = core::read_json(kept); all.is_object()) return all;
  } catch (const core::UserError&) {  // whatever lies there is replaced
  }
  return core::Json::object();
}

}  // namespace

std::string weights_sha256(const fs::path& file) {
  const fs::path kept = file.parent_path() / kHashFile;
  const std::string name = file.filename().string();
  core::Json stamp = stamp_of(file), all = read_kept(kept);
  if (const auto entry = all.find(name); entry != all.end() && entry->is_object()) {
    const auto sha256 = entry->find("sha256");
    if (sha256 != entry->end() && sha256->is_string() &&
        entry->value("bytes", core::Json()) == stamp["bytes"] &&
        entry->value("changed_ns", core::Json()) == stamp["changed_ns"])
      return sha256->get<std::string>();
  }
  std::string sha256 = core::sha256_file(file);
  if (stamp_of(file) != stamp) return sha256;  // it is being written right now
  stamp["sha256"] = sha256;
  all[name] = std::move(stamp);
  try {
    core::write_json(kept, all);
  } catch (const core::SystemError&) {  // a read-only folder
  }
  return sha256;
}

}  // namespace microdit::encoders
