// Start-up and the exit-code contract of every job.
#include "job.h"

#include <ATen/Context.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "command_line.h"
#include "core/append_file.h"
#include "core/device_fault.h"
#include "core/environment.h"
#include "core/utf8.h"
#include "provenance.h"

namespace microdit::jobs {
namespace {

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
    if (!parse_command_line(argc, argv, info, line)) return core::kDone;
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
