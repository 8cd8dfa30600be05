// CPU seconds to tokenize the lines of a file (a JSON string per line): tokenize_bench FOLDER LINES ROUNDS -> the median.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench.h"
#include "encoders/tokenizer.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto tokenizer = microdit::encoders::load_tokenizer(argv[1]);
  const std::vector<std::string> texts = microdit::bench::read_texts(argv[2]);
  std::vector<double> rounds;
  std::size_t ids = 0;  // so that nothing is left out
  for (int round = std::atoi(argv[3]); round > 0; --round) {
    const double begin = microdit::bench::cpu_s();
    for (const std::string& text : texts) ids += tokenizer->encode(text).size();
    rounds.push_back(microdit::bench::cpu_s() - begin);
  }
  std::sort(rounds.begin(), rounds.end());
  std::printf("%.9f %zu\n", rounds[rounds.size() / 2], ids);
}
