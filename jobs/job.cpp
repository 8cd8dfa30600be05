// Command line, start-up and the exit-code contract of every job.
#include "job.h"

#include <ATen/Context.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "core/append_file.h"
#include "core/device_fault.h"
#include "core/environment.h"
#include "core/utf8.h"
#include "provenance.h"

namespace microdit::jobs {
namespace {

/// "key=value" with a key that begins like a config key; everything else is a word.
bool is_override(const std::string& word) {
  const auto equals = word.find('=');
  if (equals == std::string::npos || equals == 0) return false;
  return word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") == equals;
}

/// What a word with '=' was probably meant to be: data[0].x=1, +x=1.
std::string word_hint(const std::string& word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string::npos) return "";
  std::string key;
  for (const char c : word.substr(0, equals)) {
    if (c == '[')
      key += '.';
    else if (std::string_view("+~] ").find(c) == std::string_view::npos)
      key += c;
  }
  const std::string meant = key + word.substr(equals);
  if (meant == word || !is_override(meant)) return "";
  return fmt::format(": write {}", core::with_valid_utf8(meant));
}

/// A key given as an option: --steps 5.
std::string key_hint(int argc, char** argv, const CLI::App& app) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i], name = word.substr(0, word.find('='));
    if (!word.starts_with("--") || name.size() < 3 || app.get_option_no_throw(name) != nullptr) continue;
    const std::string value = word.size() > name.size() ? word.substr(name.size() + 1)
                              : i + 1 < argc            ? std::string(argv[i + 1])
                                                        : "VALUE";
    const std::string meant = fmt::format("{}={}", name.substr(2), value);
    if (is_override(meant))
      return fmt::format("; a key is given without dashes: {}", core::with_valid_utf8(meant));
  }
  return "";
}

void sort_words(const JobInfo& info, const std::vector<std::string>& words, CommandLine& line) {
  for (const std::string& word : words) {
    if (is_override(word)) {
      line.overrides.push_back(word);
    } else if (!info.positional_help.empty()) {
      line.positional.push_back(word);
    } else {
      core::user_error("{}: '{}' is neither an option nor key=value{} (see --help)", info.name,
                       core::with_valid_utf8(word), word_hint(word));
    }
  }
}

/// Fills `line`; returns false when --help or --version has been answered.
bool parse(int argc, char** argv, const JobInfo& info, CommandLine& line) {
  CLI::App app{info.summary, info.name};
  app.set_help_flag("--help,-h", "print this and stop");
  std::vector<std::string> words;
  bool version = false;
  app.add_flag("--version", version, "print the version and stop");
  if (info.takes_config) {
    app.add_option("--config", line.config, "YAML file");
    app.add_flag("--print-config", line.print_config, "print the resolved config and stop");
  }
  if (info.takes_config || info.takes_run || info.has_dry_run)
    app.add_flag("--dry-run", line.dry_run, "check everything, say what would be done, do nothing");
  if (info.makes_run)
    app.add_flag(
        "--check-settings", line.check_settings,
        "compare the settings with those of the run, if it exists, and stop: 0 = it may start or go on");
  if (info.takes_run)
    app.add_option("--run", line.run, "run folder (runs/NAME), or one of its checkpoints/step_N");
  if (info.takes_prompts) {
    app.add_option("--prompt", line.prompts, "what to paint; may be given several times")
        ->allow_extra_args(false);
    app.add_option("--prompts", line.prompts_file,
                   "text file, one prompt per line; .jsonl: of objects with a text `prompt`");
    app.add_option(
           "--class", line.classes,
           "of a class-conditional model: name or number; may be given several times; none = every class")
        ->allow_extra_args(false);
    app.add_option("--classes", line.classes_file, "YAML file, as `classes: [3, cat]`");
  }
  for (const std::string& name : info.path_options)
    app.add_option("--" + name, line.paths[name], name + " file or folder");
  app.add_option("words", words, info.positional_help.empty() ? "key=value overrides" : info.positional_help);
  std::string footer =
      "Exit codes: 0 done, 2 your input, 75 requeue me, 76 hardware or communication fault, others failure.";
  if (!info.field_help.empty())
    footer = "Keys (key=value overrides the file):\n" + info.field_help + "\n" + footer;
  app.footer(footer);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("--") &&
        word.find('=') == word.size() - 1)  // the parser would take the next word instead
      core::user_error("{}: {}: nothing stands after '='", info.name, core::with_valid_utf8(word));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return false;
  } catch (const CLI::ParseError& error) {
    core::user_error("{}: {}{} (see --help)", info.name, core::with_valid_utf8(error.what()),
                     key_hint(argc, argv, app));
  }
  if (version) {
    fmt::print("{} ({})\n", info.name, build_text());
    return false;
  }
  sort_words(info, words, line);
  return true;
}

/// Tells the job scripts which node to leave out next time (MICRODIT_FAULTY_NODES); one write per line, ranks share it.
void report_faulty_node() {
  const char* file = std::getenv("MICRODIT_FAULTY_NODES");
  const char* node = std::getenv("SLURMD_NODENAME");
  if (file == nullptr || node == nullptr) return;
  try {
    core::AppendFile(file).append(fmt::format("{}\n", node));
  } catch (const std::exception& error) {
    core::log_warn("MICRODIT_FAULTY_NODES: {}", error.what());
  }
}

/// What OpenMP's runtime answers to a question without arguments; 0 where the program has none.
int ask_openmp(const char* question) {
  void* function = ::dlsym(RTLD_DEFAULT, question);
  return function == nullptr ? 0 : reinterpret_cast<int (*)()>(function)();
}

/// OpenMP binds the first thread when the program is loaded; threads and processes that it starts stay on its cores.
/// Whether it does, the runtime knows: several variables say so, each in its own ways, and some overrule others.
void warn_of_binding() {
  if (ask_openmp("omp_get_proc_bind") == 0) return;
  cpu_set_t own;
  CPU_ZERO(&own);
  const long cores = ::sysconf(_SC_NPROCESSORS_ONLN);
  if (::sched_getaffinity(0, sizeof own, &own) != 0 || CPU_COUNT(&own) >= cores) return;
  std::string said, names;
  for (const char* name : {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"}) {
    const std::string value = core::variable(name);
    if (value.empty()) continue;
    said += fmt::format("{}{}={}", said.empty() ? "" : " ", name, core::with_valid_utf8(value));
    names += fmt::format(" {}", name);
  }
  if (names.empty() || (names == " OMP_PROC_BIND" && ask_openmp("omp_get_num_places") == 1)) return;
  core::log_warn("{} keeps all threads of this program on {} of {} cores: unset{} (the job scripts do)", said,
                 CPU_COUNT(&own), cores, names);
}

/// What the failing rank leaves: a message, and an exit code that reaches the launcher.
int report(comm::Communicator* comm, const core::Verdict& verdict, bool own_device) {
  if (verdict.exit_code == core::kHardwareFault) {
    core::log_error("{}; fault on {}, exit {}", verdict.message, core::host_name(), verdict.exit_code);
    if (own_device) report_faulty_node();
  } else {
    core::log_error("{}", verdict.message);
  }
  if (comm != nullptr && comm->size() > 1) comm->abort(verdict.exit_code);
  return verdict.exit_code;
}

/// On a GPU torch would compute convolutions with ten bits, and now and then by another algorithm: fp32 means fp32, and the same
/// command gives the same bits.
void make_convolutions_exact() {
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setDeterministicCuDNN(true);
}

}  // namespace

std::string as_comments(const std::string& text) {
  std::string comments;
  for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    comments += "# " + text.substr(begin, end - begin) + "\n";
  }
  return comments;
}

int run_job(int argc, char** argv, const JobInfo& info, const std::function<int(Job&)>& body) {
  static core::StopFlag stop;  // the thread that takes signals may set it until the very exit
  std::unique_ptr<comm::Communicator> comm;
  try {
    CommandLine line;
    if (!parse(argc, argv, info, line)) return core::kDone;
    if (info.obeys_stop) core::stop_on_signals(stop);
    comm = comm::make_communicator();
    core::start_log(comm->rank());
    if (!line.print_config && !line.check_settings)
      core::log_info("{}: {}, on {}", info.name, build_text(), hosts_text(*comm));
    if (comm->rank() == 0) warn_of_binding();
    make_convolutions_exact();
    Job job{line, *comm, stop};
    return body(job);
  } catch (const c10::Error& error) {
    const core::TorchVerdict found = core::judge_torch(error.what_without_backtrace());
    return report(comm.get(), found.verdict, found.own_device);
  } catch (const core::Stopped&) {  // before there was anything to save
    core::log_info("{}: stopped as asked; the same command begins anew", info.name);
    if (comm && comm->size() > 1) comm->abort(core::kRequeueMe);
    return core::kRequeueMe;
  } catch (const std::exception& error) {
    return report(comm.get(), core::judge(error), dynamic_cast<const core::DeviceFault*>(&error) != nullptr);
  }
}

}  // namespace microdit::jobs
