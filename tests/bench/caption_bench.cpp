// CPU seconds to clean captions: caption_bench ROUNDS LINES (a JSON string each) -> one number per round, and a sum.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

#include "core/json.h"
#include "text/caption_processor.h"

namespace {

double cpu_s() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::ifstream file(argv[2]);
  std::vector<std::string> captions;
  for (std::string line; std::getline(file, line);)
    captions.push_back(microdit::core::parse_json(line, argv[2]).get<std::string>());
  std::size_t sum = 0;  // so that nothing is left out
  for (int round = -1; round < std::atoi(argv[1]); ++round) {
    const double begin = cpu_s();
    for (const std::string& caption : captions) sum += microdit::text::clean_caption(caption).size();
    if (round >= 0) std::printf("%.9f ", cpu_s() - begin);  // the first one warms up
  }
  std::printf("%zu\n", sum);
}
