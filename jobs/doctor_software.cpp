// doctor env: libraries, GPUs, and how the launcher and Slurm are set.
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <array>

#include "doctor.h"

namespace microdit::jobs {
namespace {

/// A function of a library that other folders own: looked up by name, so that its headers stay behind their
/// door.
template <class Function>
Function* find_symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(library, name));
}

std::string hdf5_version() {
  auto* get = find_symbol<int(unsigned*, unsigned*, unsigned*)>(RTLD_DEFAULT, "H5get_libversion");
  unsigned major = 0, minor = 0, release = 0;
  if (get == nullptr || get(&major, &minor, &release) < 0) return {};
  return fmt::format("{}.{}.{}", major, minor, release);
}

std::string mpi_version() {
  auto* get = find_symbol<int(char*, int*)>(RTLD_DEFAULT, "MPI_Get_library_version");
  std::array<char, 16384> text{};  // more than any MPI_MAX_LIBRARY_VERSION_STRING
  int length = 0;
  if (get == nullptr || get(text.data(), &length) != 0) return {};
  const std::string version = text.data();
  return version.substr(0, version.find_first_of(",\n"));
}

/// The value of "Name = value" in `scontrol show config`.
std::string slurm_setting(const std::string& config, const std::string& name) {
  const auto line = config.find("\n" + name + " ");
  if (line == config.npos) return "?";
  const auto begin = config.find('=', line) + 1;
  const auto end = config.find('\n', begin);
  const std::string value = config.substr(begin, end - begin);
  const auto first = value.find_first_not_of(' ');
  return first == value.npos ? "" : value.substr(first);
}

void examine_slurm(Findings& findings) {
  if (output_of("sh -c 'command -v scontrol'").empty()) {
    findings.push_back({Verdict::note, "slurm", "not installed here",
                        "mpirun -n 4 build/bin/train ..., or build/bin/train ..."});
    return;
  }
  const std::string config = output_of("scontrol show config");
  if (config.empty()) {
    findings.push_back({Verdict::note, "slurm", "installed, but no controller answers",
                        "ask the site; on one's own machine: scripts/local_slurm.sh up"});
    return;
  }
  const std::string requeue = slurm_setting(config, "JobRequeue"), mpi = slurm_setting(config, "MpiDefault");
  findings.push_back(
      {Verdict::good, "slurm",
       fmt::format("cluster {}, {}, MaxArraySize {}", slurm_setting(config, "ClusterName"),
                   slurm_setting(config, "SLURM_VERSION"), slurm_setting(config, "MaxArraySize"))});
  findings.push_back(
      {requeue == "1" ? Verdict::good : Verdict::note, "requeue", "JobRequeue = " + requeue,
       "the scripts ask for --requeue themselves; a site that forbids it needs a person to submit again"});
  // Open MPI's ranks find one another through PMIx alone; MPICH's through either.
  const std::string wanted = mpi_version().starts_with("Open MPI") ? "pmix" : "pmi";
  const bool has_plugin = output_of("sh -c 'srun --mpi=list 2>&1'").find(wanted) != std::string::npos;
  findings.push_back(
      {has_plugin ? Verdict::good : Verdict::bad, "srun",
       fmt::format("MpiDefault = {}, Slurm's plugin {} for this MPI: {}", mpi, wanted,
                   has_plugin ? "yes" : "none"),
       "set MICRODIT_LAUNCHER in slurm/sites/NAME.sh to mpirun, or ask the site for Slurm's pmix plugin"});
}

}  // namespace

void examine_libraries(Findings& findings) {
  findings.push_back(
      {Verdict::good, "compiler", fmt::format("g++ or clang {}, C++ {}", __VERSION__, __cplusplus)});
  const std::string config = at::show_config();
  const bool mkl = config.find("Math Kernel Library") != config.npos;
  const bool blas = mkl || config.find("BLAS_INFO=open") != config.npos;
  findings.push_back(
      {blas ? Verdict::good : Verdict::note, "libtorch",
       fmt::format("{}, BLAS {}, oneDNN {}, kernels for {}, {} threads", TORCH_VERSION,
                   mkl    ? "MKL"
                   : blas ? "OpenBLAS"
                          : "none",
                   config.find("MKL-DNN") != config.npos ? "yes" : "no", at::get_cpu_capability(),
                   at::get_num_threads()),
       "a LibTorch with MKL or OpenBLAS (scripts/setup.sh installs one) trains several times faster"});
  const std::string hdf5 = hdf5_version(), mpi = mpi_version();
  findings.push_back({hdf5.empty() ? Verdict::bad : Verdict::good, "hdf5", hdf5.empty() ? "not linked" : hdf5,
                      "scripts/setup.sh"});
  findings.push_back({mpi.empty() ? Verdict::bad : Verdict::good, "mpi", mpi.empty() ? "not linked" : mpi,
                      "scripts/setup.sh"});
}

void examine_gpu(Findings& findings) {
  void* driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  int gpus = 0;
  if (driver != nullptr) {
    auto* init = find_symbol<int(unsigned)>(driver, "cuInit");
    auto* count = find_symbol<int(int*)>(driver, "cuDeviceGetCount");
    if (init == nullptr || count == nullptr || init(0) != 0 || count(&gpus) != 0) gpus = 0;
  }
  const auto usable = static_cast<int>(torch::cuda::device_count());
  const bool wasted = gpus > 0 && usable == 0;
  findings.push_back(
      {wasted ? Verdict::note : Verdict::good, "gpu",
       gpus == 0 ? "none: device=cpu" : fmt::format("{} seen by the driver, {} by this build", gpus, usable),
       "this build is for the CPU: configure with -DMICRODIT_CUDA=ON where nvcc is"});
  if (usable == 0) return;
  auto* version = find_symbol<int(int*)>(RTLD_DEFAULT, "ncclGetVersion");
  int number = 0;
  const bool nccl = version != nullptr && version(&number) == 0;
  findings.push_back({nccl ? Verdict::good : Verdict::bad, "nccl",
                      nccl ? fmt::format("{}", number) : "not linked",
                      "install NCCL beside LibTorch and configure again"});
}

void examine_launch(Findings& findings, const comm::Communicator& comm) {
  const comm::Launch launch = comm::detect_launch();
  findings.push_back({Verdict::good, "launch",
                      launch.has_launcher ? fmt::format("{} of {} tasks, {} MPI ranks", launch.launcher,
                                                        launch.num_tasks, comm.size())
                                          : std::string("one process, no launcher")});
  const bool has_mpirun = !output_of("sh -c 'command -v mpirun'").empty();
  findings.push_back(
      {has_mpirun ? Verdict::good : Verdict::note, "mpirun", has_mpirun ? "found" : "not found",
       "several ranks outside of Slurm need it: scripts/setup.sh, or load the site's MPI module"});
  examine_slurm(findings);
}

}  // namespace microdit::jobs
