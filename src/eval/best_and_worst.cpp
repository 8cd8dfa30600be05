// Two halves of pairs.
#include "eval/best_and_worst.h"

#include <torch/utils.h>

#include <algorithm>
#include <numeric>

#include "core/atomic_file.h"
#include "core/json.h"
#include "image/encode.h"
#include "image/sheet.h"

namespace microdit::eval {
namespace {

constexpr std::size_t kHalf = 8;
constexpr std::int64_t kPairsInALine = 4;

image::Section section_of(const std::string& title, const std::vector<std::size_t>& rows,
                          const Painted& painted, const std::vector<std::int64_t>& ranks,
                          const Painter& painter) {
  image::Section section{.title = fmt::format("{} {}", title, rows.size()),
                         .heads = {"original, decoded", "generated"}};
  std::vector<torch::Tensor> latents;
  for (const std::size_t row : rows) {
    latents.push_back(painted.truth.latents_NCHW[static_cast<std::int64_t>(row)]);
    latents.push_back(painted.painting.sample_BCHW[static_cast<std::int64_t>(row)]);
  }
  std::vector<image::Image> pictures = painter.decode(torch::stack(latents));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    section.blocks.push_back(
        {.pictures = {std::move(pictures[2 * i]), std::move(pictures[2 * i + 1])},
         .caption = fmt::format("rank {}: {}", ranks[rows[i]] + 1, painted.truth.captions[rows[i]])});
  }
  return section;
}

}  // namespace

void write_best_and_worst(const std::filesystem::path& folder, const std::string& name,
                          const Painted& painted, const std::vector<std::int64_t>& ranks,
                          std::int64_t candidates, const Painter& painter, const std::string& note) {
  std::vector<std::size_t> order(ranks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return ranks[a] < ranks[b]; });
  const auto some = static_cast<std::ptrdiff_t>(std::min(kHalf, order.size() / 2));
  if (some == 0) return;
  std::vector<image::Section> sections;
  std::string lines;
  for (const auto& [title, rows] : {std::pair{"Best", std::vector(order.begin(), order.begin() + some)},
                                    std::pair{"Worst", std::vector(order.end() - some, order.end())}}) {
    sections.push_back(section_of(title, rows, painted, ranks, painter));
    for (const std::size_t row : rows) {
      const core::Json line = {
          {"half", title}, {"rank", ranks[row] + 1}, {"caption", painted.truth.captions[row]}};
      lines += line.dump() + "\n";
    }
  }
  const image::SheetStyle style{
      .columns = kPairsInALine,
      .title = fmt::format("{}: {} captions, rank 1 = own picture nearest of {}",
                           name == "held_out" ? "held out" : name, ranks.size(), candidates),
      .note = note};
  core::atomic_write(folder / (name + "_best_and_worst.jsonl"), lines);
  core::atomic_write(folder / (name + "_best_and_worst.png"),
                     image::encode_png(image::sheet(sections, style)));
}

}  // namespace microdit::eval
