// A worker process: started with nothing of ours but a socket and one file, limited, watched.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/stop_flag.h"

namespace microdit::ingest {

constexpr int kWorkerSocket = 0;  ///< the descriptors that a worker begins with
constexpr int kWorkerFile = 3;

constexpr const char *kIngestWorker = "ingest_worker",
                     *kParquetWorker = "parquet_worker";  ///< the programs: worker_serve.h, parquet_serve.h

/// The program, beside the running one or in ../bin. UserError when it is in neither.
std::filesystem::path worker_program(const std::string& name = kIngestWorker);

/// How a process ended, in words and as a kind.
struct WorkerEnd {
  enum class Kind { exited, crashed, out_of_time, killed } kind = Kind::exited;
  std::string words{};
};

class WorkerProcess {
 public:
  /// Runs the program with `arguments`, an empty environment, `file` as descriptor kWorkerFile. SystemError when it cannot
  /// be started.
  WorkerProcess(const std::vector<std::string>& arguments, int file,
                const std::string& program = kIngestWorker);
  ~WorkerProcess();  ///< ends it at once
  WorkerProcess(const WorkerProcess&) = delete;

  /// All bytes, or false when the worker has gone.
  bool send(std::span<const std::byte> bytes);
  enum class Got { all, gone, stopped };
  /// Fills `bytes`; looks at `stop` (may be null) five times a second.
  Got receive(std::span<std::byte> bytes, const core::StopFlag* stop = nullptr);
  /// Waits for the end of a worker that has gone. SystemError when it is of another build.
  WorkerEnd end();

 private:
  std::string program_;
  pid_t pid_ = -1;
  int socket_ = -1;
};

template <class T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

}  // namespace microdit::ingest
