// CPU seconds to decode a picture and make squares of it: picture_bench ROUNDS FILE SIZE... -> one number, per picture.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include "bench.h"
#include "image/decode.h"
#include "image/resize.h"

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const int rounds = std::atoi(argv[1]);
  std::ifstream in(argv[2], std::ios::binary);
  const std::vector<char> bytes(std::istreambuf_iterator<char>(in), {});
  unsigned sum = 0;  // so that nothing is left out
  double begin = 0;
  for (int round = -1; round < rounds; ++round) {
    if (round == 0) begin = microdit::bench::cpu_s();  // the first one warms up
    const auto picture = microdit::image::decode(std::as_bytes(std::span(bytes)));
    for (int i = 3; i < argc; ++i)
      sum += microdit::image::resize_and_center_crop(picture, std::atoi(argv[i])).pixels[0];
  }
  std::printf("%.9f %u\n", (microdit::bench::cpu_s() - begin) / rounds, sum);
}
