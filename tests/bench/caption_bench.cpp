// CPU seconds to clean captions: caption_bench ROUNDS LINES (a JSON string each) -> one number per round, and a sum.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench.h"
#include "text/caption_processor.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::vector<std::string> captions = microdit::bench::read_texts(argv[2]);
  std::size_t sum = 0;  // so that nothing is left out
  for (int round = -1; round < std::atoi(argv[1]); ++round) {
    const double begin = microdit::bench::cpu_s();
    for (const std::string& caption : captions) sum += microdit::text::clean_caption(caption).size();
    if (round >= 0) std::printf("%.9f ", microdit::bench::cpu_s() - begin);  // the first one warms up
  }
  std::printf("%zu\n", sum);
}
