// Hashing 10 GB takes a minute at every start; what the file system says of a file tells whether it is needed.
#include "encoders/weights_hash.h"

#include <sys/stat.h>

#include <cerrno>
#include <stdexcept>

#include "core/atomic_file.h"
#include "core/config.h"
#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

std::int64_t nanoseconds(const struct timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// Another file under the same name has another inode, one written in place another time, whatever `touch` says.
core::Json stamp_of(const fs::path& file) {
  struct stat found {};
  if (::stat(file.c_str(), &found) != 0) core::errno_error(errno, "{}: cannot be read", file.string());
  return {{"bytes", found.st_size},
          {"changed_ns", nanoseconds(found.st_mtim)},
          {"status_changed_ns", nanoseconds(found.st_ctim)},
          {"inode", found.st_ino}};
}

/// One file of hashes, and the name under which a file of weights stands in it.
struct Kept {
  fs::path file;
  std::string name;

  /// All that it holds; nothing where it cannot be read or is no object.
  core::Json read() const {
    try {
      if (fs::is_regular_file(file))
        if (core::Json all = core::read_json(file); all.is_object()) return all;
    } catch (const std::runtime_error&) {  // whatever lies there is replaced
    }
    return core::Json::object();
  }
  /// "" where it does not know the file as it is.
  std::string find(const core::Json& stamp) const {
    const core::Json all = read();
    const auto entry = all.find(name);
    if (entry == all.end() || !entry->is_object()) return "";
    for (const auto& [key, value] : stamp.items())
      if (entry->value(key, core::Json()) != value) return "";
    const core::Json sha256 = entry->value("sha256", core::Json());
    return sha256.is_string() ? sha256.get<std::string>() : "";
  }
  /// False where its folder cannot be written.
  bool write(core::Json stamp, const std::string& sha256) const {
    core::Json all = read();
    stamp["sha256"] = sha256;
    all[name] = std::move(stamp);
    try {
      fs::create_directories(file.parent_path());
      core::write_json(file, all);
    } catch (const std::runtime_error&) {
      return false;
    }
    return true;
  }
};

}  // namespace

std::string weights_sha256(const fs::path& file, const core::StopFlag& stop) {
  const Kept beside{file.parent_path() / kHashFile, file.filename().string()};
  const Kept of_others{core::data_root() / "weights" / kHashFileOfOthers, core::whole_path(file).string()};
  const core::Json stamp = stamp_of(file);
  for (const Kept* kept : {&beside, &of_others})
    if (std::string sha256 = kept->find(stamp); !sha256.empty()) return sha256;
  const std::optional<std::string> sha256 = core::sha256_file(file, stop);
  if (!sha256) throw core::Stopped();
  // Else it is being written right now.
  if (stamp_of(file) == stamp && !beside.write(stamp, *sha256)) of_others.write(stamp, *sha256);
  return *sha256;
}

}  // namespace microdit::encoders
