// Seconds to encode the lines of a file (a JSON string per line): text_encoder_bench FOLDER LINES LENGTH ROUNDS -> the median,
// tokenizing included; OMP_NUM_THREADS says by how many threads.
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench.h"
#include "encoders/text_encoder.h"

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  using Clock = std::chrono::steady_clock;
  const auto encoder = microdit::encoders::load_text_encoder(argv[1]);
  const std::vector<std::string> texts = microdit::bench::read_texts(argv[2]);
  std::vector<double> rounds;
  double sum = 0;  // so that nothing is left out
  for (int round = std::atoi(argv[4]); round >= 0; --round) {
    const auto begin = Clock::now();
    sum += encoder->encode(texts, std::atoll(argv[3])).states_BLD.sum().item<double>();
    rounds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  rounds.erase(rounds.begin());  // it warmed up
  std::sort(rounds.begin(), rounds.end());
  std::printf("%.9f %g %d\n", rounds[rounds.size() / 2], sum, at::get_num_threads());
}
