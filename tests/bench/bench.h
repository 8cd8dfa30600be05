// What the benchmarks share.
#pragma once

#include <ctime>
#include <fstream>
#include <string>
#include <vector>

#include "core/json.h"

namespace microdit::bench {

/// Of this process, all threads.
inline double cpu_s() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// A file of JSON strings, one per line.
inline std::vector<std::string> read_texts(const char* path) {
  std::ifstream file(path);
  std::vector<std::string> texts;
  for (std::string line; std::getline(file, line);)
    texts.push_back(core::parse_json(line, path).get<std::string>());
  return texts;
}

}  // namespace microdit::bench
