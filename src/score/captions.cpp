// A shuffle that ends when enough were drawn.
#include "score/captions.h"

#include <numeric>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/seed.h"

namespace microdit::score {
namespace {

/// As one line of a file of prompts; empty for a blank caption.
std::string as_line(std::string caption) {
  for (char& c : caption)
    if (c == '\n' || c == '\r' || c == '\t' || c == '\0') c = ' ';
  const std::size_t first = caption.find_first_not_of(' ');
  if (first == caption.npos) return "";
  caption = caption.substr(first, caption.find_last_not_of(' ') - first + 1);
  return caption.starts_with('#') || caption.starts_with("\\#") ? "\\" + caption : caption;
}

}  // namespace

void draw_captions(const Pictures& pictures, std::int64_t count, std::uint64_t seed,
                   const std::filesystem::path& file) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(pictures.count()));
  std::iota(order.begin(), order.end(), 0);
  core::CounterRng rng(seed, core::Purpose::caption_choice);
  std::string text;
  std::int64_t drawn = 0;
  for (std::size_t i = 0; i < order.size() && drawn < count; ++i) {
    std::swap(order[i], order[i + rng.below(order.size() - i)]);
    const std::string line = as_line(pictures.caption(order[i]));
    if (line.empty()) continue;
    text += line + "\n";
    ++drawn;
  }
  if (drawn < count) core::user_error("draw={}: {} have {} captions", count, pictures.text(), drawn);
  core::atomic_write(file, text);
}

}  // namespace microdit::score
