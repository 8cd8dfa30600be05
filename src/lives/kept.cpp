// What a job's later lives run, copied once.
#include "lives/kept.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/atomic_file.h"
#include "core/error.h"

namespace microdit::lives {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::minutes kToStart{10};  // a program with LibTorch, from a file system that is not awake

Words program_line(const Stage& stage, const Words& words) {
  return stage.prefix + Words{(stage.bin / stage.name).string()} + stage.arguments + words;
}

/// A text of the outermost level, as the programs print it: plain or in JSON's quotes, a comment behind it.
std::string value_of(const std::string& yaml, const std::string& key) {
  const std::string begin = "\n" + key + ": ";
  const std::size_t found = ("\n" + yaml).find(begin);
  if (found == std::string::npos) return "";
  const std::size_t from = found + begin.size() - 1;
  const std::string value = yaml.substr(from, yaml.find('\n', from) - from);
  if (!value.starts_with('"')) return value.substr(0, value.find_first_of(" \t"));
  std::size_t end = 1;
  while (end < value.size() && value[end] != '"') end += value[end] == '\\' ? 2 : 1;
  const core::Json text = core::Json::parse(value.substr(0, end + 1), nullptr, false);
  return text.is_string() ? text.get<std::string>() : "";
}

/// The image's program where a prefix leads into one, else the file that we see.
void copy_program(const Stage& stage, const fs::path& to) {
  const fs::path from = stage.bin / stage.name;
  if (stage.prefix.empty()) {
    fs::copy_file(from, to);
    return;
  }
  const Words copy = stage.prefix + Words{"cp", "-p", from.string(), to.string()};
  const Answer answer = ask(copy, kToStart, Errors::shown);
  if (answer.exit_code != 0) core::system_error("{}: exit code {}", shell_line(copy), answer.exit_code);
}

/// First and second word of `program --version`: revision and libraries.
std::string version_of(const Stage& stage) {
  const Words command = stage.prefix + Words{(stage.bin / stage.name).string(), "--version"};
  std::string text = ask(command, kToStart, Errors::shown).output;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

core::Json about(const Stage& stage, const Surroundings& here) {
  return {{"job", here.job},
          {"cluster", here.cluster},
          {"began", iso_date(now())},
          {"host", here.host},
          {"nodes", here.nodes},
          {"ranks", here.ranks},
          {"gpus", here.gpus},
          {"program", version_of(stage)},
          {"arguments", Words{stage.name} + stage.arguments},
          {"launcher", shell_line(stage.launcher)},
          {"prefix", shell_line(stage.prefix)},
          {"folder", fs::current_path().string()}};
}

}  // namespace

fs::path own_program() {
  return fs::read_symlink("/proc/self/exe");
}

void check_settings(const Stage& stage) {
  const Answer answer = ask(program_line(stage, {"--check-settings"}), kToStart, Errors::shown);
  if (answer.exit_code != 0) throw Refused{answer.exit_code};
}

Resolved resolve(const Stage& stage) {
  const Answer answer = ask(program_line(stage, {"--print-config"}), kToStart, Errors::shown);
  if (answer.exit_code != 0) throw Refused{answer.exit_code};
  const std::string runs = value_of(answer.output, "runs"), name = value_of(answer.output, "name");
  if (runs.empty() || name.empty())
    core::system_error("{} --print-config: says no runs: and name:", (stage.bin / stage.name).string());
  return {fs::path(runs) / name, answer.output};
}

void Kept::create(const Stage& stage, const std::string& config, const Surroundings& here) const {
  fs::create_directories(folder_.parent_path());
  const fs::path aside = core::temporary_path(folder_);
  try {
    fs::create_directories(aside / "bin");
    copy_program(stage, aside / "bin" / stage.name);
    fs::copy_file(own_program(), aside / "bin" / "life");
    // An installed program looks for its libraries beside its folder; an image's lie in the image.
    const fs::path libraries = fs::weakly_canonical(stage.bin).parent_path() / "lib";
    if (!stage.prefix.empty() || fs::is_directory(libraries))
      fs::create_directory_symlink(libraries, aside / "lib");
    // What gpu_check has proved of the build is looked for beside the program's folder.
    const fs::path proof = fs::weakly_canonical(stage.bin).parent_path() / "gpu_check.json";
    if (fs::exists(proof)) fs::copy_file(proof, aside / "gpu_check.json");
    fs::copy_file(stage.script, aside / "job.sbatch");
    fs::copy_file(stage.env, aside / "env.sh");
    fs::copy_file(stage.site, aside / "site.sh");
    core::atomic_write(aside / "config.yaml", config);
    core::write_json(aside / "about.json", about(stage, here));
    fs::remove_all(folder_);  // of an older job that had the same number
    core::publish(aside, folder_);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(aside, ignored);
    throw;
  }
}

void Kept::remove() const {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  fs::remove(folder_.parent_path(), ignored);  // only when it is empty
  fs::remove(run(), ignored);
}

void Kept::record(const core::Json& life) const {
  const fs::path file = folder_ / "lives.jsonl";
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const std::string line = life.dump() + "\n";
  const bool written = fd >= 0 && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!written) say("life", fmt::format("{}: cannot be written: {}", file.string(), std::strerror(error)));
}

}  // namespace microdit::lives
