// CPU seconds to tokenize the lines of a file (a JSON string per line): tokenize_bench FOLDER LINES ROUNDS -> the median.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

#include "core/json.h"
#include "encoders/tokenizer.h"

namespace {

double cpu_s() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto tokenizer = microdit::encoders::load_tokenizer(argv[1]);
  std::vector<std::string> texts;
  std::ifstream file(argv[2]);
  for (std::string line; std::getline(file, line);)
    texts.push_back(microdit::core::parse_json(line, argv[2]).get<std::string>());
  std::vector<double> rounds;
  std::size_t ids = 0;  // so that nothing is left out
  for (int round = std::atoi(argv[3]); round > 0; --round) {
    const double begin = cpu_s();
    for (const std::string& text : texts) ids += tokenizer->encode(text).size();
    rounds.push_back(cpu_s() - begin);
  }
  std::sort(rounds.begin(), rounds.end());
  std::printf("%.9f %zu\n", rounds[rounds.size() / 2], ids);
}
