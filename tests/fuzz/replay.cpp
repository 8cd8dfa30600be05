// replay FOLDER: every file of FOLDER/TARGET through its target, each also cut and with bytes changed.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/seed.h"
#include "fuzz/targets.h"

namespace {

namespace fs = std::filesystem;
using microdit::fuzz::Target;

std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

int replay(const fs::path& folder, Target target) {
  int runs = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string bytes = contents(entry.path());
    target(bytes);
    microdit::core::CounterRng rng(1, microdit::core::Purpose::order, bytes.size());
    for (int i = 0; i < 50 && !bytes.empty(); ++i, ++runs) {
      std::string changed = bytes.substr(0, i % 2 == 0 ? bytes.size() : rng.below(bytes.size()) + 1);
      for (int j = 0; j < 1 + i % 4; ++j)
        changed[rng.below(changed.size())] = static_cast<char>(rng.below(256));
      target(changed);
    }
    ++runs;
  }
  return runs;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  for (const auto& [name, target] : microdit::fuzz::targets()) {
    const fs::path folder = fs::path(argv[1]) / name;
    const int runs = fs::exists(folder) ? replay(folder, target) : 0;
    std::printf("%s: %d inputs\n", name.c_str(), runs);
    if (runs == 0) return 1;
  }
  return 0;
}
