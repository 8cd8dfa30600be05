// A table of prompts: table_bench make FILE ROWS, or parquet FILE ROWS.parquet -> seconds, and MiB of memory at most; table_bench find FILE ROWS LOOKUPS ->
// seconds of lookups of random keys; table_bench keys ROWS LOOKUPS -> those keys; table_bench lines ROWS -> the rows as JSON lines.
#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tables/build_table.h"
#include "tables/table_file.h"

namespace {

using namespace microdit;

std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::string name_of(std::uint64_t row) {
  return fmt::format("{:016x}{:08x}.webp", mixed(row + 1), mixed(~row) >> 32);
}

std::string key_of(std::uint64_t row) {
  return fmt::format("part-{:06}/{}", row / 1000 + 1, name_of(row));
}

/// Rows in an order that has nothing to do with their keys, as JSON lines.
std::string line_of(std::uint64_t number, std::uint64_t rows) {
  const std::uint64_t row = number * 1'000'003 % rows;
  std::string prompt = "a ";
  for (int i = 0; prompt.size() < 120; ++i) prompt += fmt::format("{:x}, ", mixed(row * 16 + i) >> 36);
  return fmt::format(
      "{{\"image_name\": \"{}\", \"prompt\": \"{}\", \"part_id\": {}, \"image_nsfw\": {}, \"prompt_nsfw\": "
      "{}}}\n",
      name_of(row), prompt, row / 1000 + 1, static_cast<double>(mixed(row) % 10'000) / 1e4,
      static_cast<double>(mixed(row * 3) % 10'000) / 1e4);
}

tables::ByteSource lines_of(std::uint64_t rows) {
  return [rows, number = std::uint64_t{0}, left = std::string()](std::span<std::byte> out) mutable {
    while (left.size() < out.size() && number < rows) left += line_of(number++, rows);
    const std::size_t bytes = std::min(left.size(), out.size());
    std::memcpy(out.data(), left.data(), bytes);
    left.erase(0, bytes);
    return bytes;
  };
}

double seconds_of(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Builds the table, and prints seconds and memory.
void make(const std::string& path, const std::string& kind, const tables::TableInput& input) {
  const core::StopFlag stop;
  tables::TableSpec spec{.kind = kind, .files = {input.origin}, .key = "part-{part_id:06}/{image_name}"};
  spec.columns = {{"prompt", "prompt"}, {"image_nsfw", "image_nsfw"}, {"prompt_nsfw", "prompt_nsfw"}};
  const double seconds = seconds_of([&] { tables::build_table(path, spec, input, stop); });
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  std::printf("%.3f %ld\n", seconds, used.ru_maxrss / 1024);
}

std::uint64_t asked_row(std::uint64_t lookup, std::uint64_t rows) {
  return mixed(lookup + 12'345) % rows;
}

void find(const std::string& path, std::uint64_t rows, std::uint64_t lookups) {
  const tables::TableFile table(path);
  std::size_t found = 0;
  std::vector<std::string> keys;
  for (std::uint64_t i = 0; i < lookups; ++i) keys.push_back(key_of(asked_row(i, rows)));
  const double seconds = seconds_of([&] {
    for (const std::string& key : keys) found += table.find(key).size();
  });
  std::printf("%.6f %zu\n", seconds, found);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[1] : "";
  const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
  if (what == "make" && argc == 4) {
    make(argv[2], "json", {.origin = "rows.jsonl", .bytes = lines_of(number(3))});
  } else if (what == "parquet" && argc == 4) {
    make(argv[2], "parquet", {.origin = argv[3], .file = argv[3]});
  } else if (what == "find" && argc == 5) {
    find(argv[2], number(3), number(4));
  } else if (what == "keys" && argc == 4) {
    for (std::uint64_t i = 0; i < number(3); ++i) std::puts(key_of(asked_row(i, number(2))).c_str());
  } else if (what == "lines" && argc == 3) {
    for (std::uint64_t i = 0; i < number(2); ++i) std::fputs(line_of(i, number(2)).c_str(), stdout);
  } else {
    return 2;
  }
}
