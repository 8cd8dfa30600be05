// doctor env: processor, limits, and the disk under the current folder.
#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "core/atomic_file.h"
#include "doctor.h"
#include "store/shard_writer.h"

namespace microdit::jobs {
namespace {

namespace fs = std::filesystem;
constexpr double kGiB = 1024.0 * 1024 * 1024;

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void examine_limits(Findings& findings) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  // A checkpoint of n ranks is read with n files open, a dataset with one per shard.
  findings.push_back({files.rlim_cur < 1024 ? Verdict::bad : Verdict::good, "files",
                      fmt::format("{} may be open at once (ulimit -n)", files.rlim_cur),
                      "ulimit -n 4096, in slurm/sites/NAME.sh"});
  std::string locale = "C";
  for (const char* name : {"LANG", "LC_CTYPE", "LC_ALL"}) {  // the last that is set wins
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') locale = value;
  }
  std::string lower = locale;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool utf8 = lower.find("utf-8") != lower.npos || lower.find("utf8") != lower.npos;
  findings.push_back(
      {utf8 ? Verdict::good : Verdict::note, "locale", locale,
       "captions are UTF-8 whatever it says; export LANG=C.UTF-8 to see them right on the terminal"});
}

/// A folder that goes with its contents.
struct ScratchFolder {
  fs::path path = core::temporary_path(fs::current_path() / "doctor");
  ScratchFolder() { fs::create_directory(path); }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

void examine_sync(Findings& findings, const fs::path& folder) {
  const std::vector<std::byte> large(std::size_t{64} << 20, std::byte{7});
  const double write_s = seconds_of([&] { core::atomic_write(folder / "large", large); });
  std::vector<double> commits_s;
  for (int i = 0; i < 9; ++i) {
    commits_s.push_back(
        seconds_of([&] { core::atomic_write(folder / fmt::format("small_{}", i), std::string_view("x")); }));
  }
  std::nth_element(commits_s.begin(), commits_s.begin() + 4, commits_s.end());
  findings.push_back(
      {commits_s[4] > 0.1 ? Verdict::note : Verdict::good, "fsync",
       fmt::format("{:.0f} MB/s written and synced, {:.1f} ms for one small commit",
                   static_cast<double>(large.size()) / 1e6 / write_s, commits_s[4] * 1e3),
       "commits are slow here: checkpoint less often, or put MICRODIT_DATA and runs/ on a faster disk"});
}

void examine_hdf5(Findings& findings, const fs::path& folder) {
  store::ShardContents contents;
  std::vector<std::byte> bytes(4096);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37);
  contents.columns.push_back({"column", core::DType::u8, {64, 64}, bytes});
  store::write_shard(folder / "shard.h5", contents);
  const bool same = store::ShardReader(folder / "shard.h5").read("column") == bytes;
  findings.push_back({same ? Verdict::good : Verdict::bad, "shards",
                      same ? "a shard is written and read back here" : "a shard reads back different",
                      "memory or disk of this machine corrupt data: do not use it"});
}

}  // namespace

void examine_processor(Findings& findings) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ::sched_getaffinity(0, sizeof(allowed), &allowed);
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  findings.push_back(
      {avx2 ? Verdict::good : Verdict::note, "processor",
       fmt::format("{} of {} cores for this process, AVX2 {}, AVX-512 {}", CPU_COUNT(&allowed),
                   ::get_nprocs(), avx2 ? "yes" : "no", __builtin_cpu_supports("avx512f") ? "yes" : "no"),
       "without AVX2 training on this CPU is several times slower"});
  struct sysinfo memory {};
  ::sysinfo(&memory);
  const double total_gib = static_cast<double>(memory.totalram) * memory.mem_unit / kGiB;
  findings.push_back({total_gib < 3 ? Verdict::note : Verdict::good, "memory",
                      fmt::format("{:.1f} GiB", total_gib),
                      "building and training the demonstration want 4 GiB"});
  examine_limits(findings);
}

void examine_disk(Findings& findings) {
  struct statvfs disk {};
  ::statvfs(".", &disk);
  const double free_gib = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize) / kGiB;
  findings.push_back({free_gib < 1    ? Verdict::bad
                      : free_gib < 10 ? Verdict::note
                                      : Verdict::good,
                      "disk", fmt::format("{:.1f} GiB free in {}", free_gib, fs::current_path().string()),
                      "free some, or work elsewhere (MICRODIT_DATA names the data's place)"});
  try {
    const ScratchFolder scratch;
    examine_sync(findings, scratch.path);
    examine_hdf5(findings, scratch.path);
  } catch (const std::exception& error) {
    findings.push_back({Verdict::bad, "disk", error.what(), "start doctor in a folder that can be written"});
  }
}

}  // namespace microdit::jobs
