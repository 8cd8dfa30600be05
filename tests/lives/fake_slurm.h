// A folder of programs called scontrol, squeue and sbatch, first on PATH, that do what a test says and note
// how they were called; and Slurm's variables for the time of a test.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "core/atomic_file.h"
#include "lives/slurm.h"

namespace microdit::lives {

/// An environment variable that gets its old value back.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old, had_ = true;
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { had_ ? ::setenv(name_, old_.c_str(), 1) : ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::string old_{};
  bool had_ = false;
};

class FakeSlurm {
 public:
  FakeSlurm()
      : folder_(std::filesystem::temp_directory_path() / ("fake_slurm." + core::generation())),
        path_("PATH",
              (std::filesystem::create_directories(folder_), folder_.string()) + ":" + std::getenv("PATH")) {}
  ~FakeSlurm() { std::filesystem::remove_all(folder_); }

  const std::filesystem::path& folder() const { return folder_; }

  /// A shell script; $calls is how often this program was called, this time included.
  void program(const std::string& name, const std::string& body) const {
    const std::filesystem::path file = folder_ / name;
    std::ofstream(file) << "#!/bin/sh\necho \"" << name << " $*\" >>" << folder_.string() << "/calls\n"
                        << "calls=$(grep -c '^" << name << "' " << folder_.string() << "/calls)\n"
                        << body << "\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }
  /// All calls, one a line.
  std::string calls() const {
    return std::filesystem::exists(folder_ / "calls") ? core::read_text(folder_ / "calls") : "";
  }
  Slurm slurm() const {
    return Slurm({.total = std::chrono::milliseconds(2000), .pause = std::chrono::milliseconds(20)});
  }

 private:
  std::filesystem::path folder_;
  Variable path_;
};

constexpr auto kRunning =
    "JobId=17 JobName=x Partition=gpu JobState=RUNNING Reason=None ExcNodeList=(null) Requeue=1";
constexpr auto kBusy =
    "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1";

}  // namespace microdit::lives
