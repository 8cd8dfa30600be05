// Prompts in lines, lines on pages.
#include "eval/grid_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/atomic_file.h"
#include "core/log.h"
#include "eval/summary.h"
#include "eval/trained_run.h"
#include "image/encode.h"
#include "image/sheet.h"

namespace microdit::eval {
namespace {

constexpr std::size_t kWidest = 8;  // pictures in a line
constexpr std::size_t kPagePictures = 64;
constexpr std::size_t kMostPages = 50;

/// Pictures [first, first + count) of the list, all of one prompt.
struct Line {
  std::size_t prompt = 0, first = 0, count = 0;
};

std::vector<Line> lines_of(std::size_t prompts, std::size_t per_prompt) {
  std::vector<Line> lines;
  for (std::size_t prompt = 0; prompt < prompts; ++prompt) {
    for (std::size_t k = 0; k < per_prompt; k += kWidest)
      lines.push_back({prompt, prompt * per_prompt + k, std::min(kWidest, per_prompt - k)});
  }
  return lines;
}

}  // namespace

std::string made_by(const TrainedRun& run) {
  return settings_text(
      {{"sampler", core::to_json(run.sampler)}, {"step", run.step()}, {"weights", run.weights}});
}

std::string grid_page_name(std::size_t page) {
  return page == 0 ? "grid.png" : fmt::format("grid_{}.png", page + 1);
}

std::size_t write_grid_pages(const std::filesystem::path& folder, const std::vector<std::string>& prompts,
                             std::size_t per_prompt, const std::string& note,
                             const std::function<image::Image(std::size_t)>& picture) {
  const std::vector<Line> lines = lines_of(prompts.size(), per_prompt);
  const std::size_t at_most = kPagePictures / std::min(per_prompt, kWidest);
  const std::size_t all_pages = (lines.size() + at_most - 1) / at_most,
                    pages = std::min(all_pages, kMostPages);
  const std::size_t on_page = (lines.size() + all_pages - 1) / all_pages;  // pages of about equal length
  for (std::size_t page = 0; page < pages; ++page) {
    image::Section section;
    const std::size_t first = page * on_page, last = std::min(first + on_page, lines.size());
    for (std::size_t i = first; i < last; ++i) {
      const bool begins = i == first || lines[i].prompt != lines[i - 1].prompt;
      image::Block block;
      if (begins) block.caption = fmt::format("{}. {}", lines[i].prompt + 1, prompts[lines[i].prompt]);
      for (std::size_t k = 0; k < lines[i].count; ++k) block.pictures.push_back(picture(lines[i].first + k));
      section.blocks.push_back(std::move(block));
    }
    const auto square = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(last - first))));
    const image::SheetStyle style{
        .columns = per_prompt == 1 ? square : 1,
        .caption_left = per_prompt > 1,
        .title = fmt::format("{} prompt{} x {}{}", prompts.size(), prompts.size() == 1 ? "" : "s", per_prompt,
                             all_pages == 1 ? "" : fmt::format(", page {} of {}", page + 1, all_pages)),
        .note = note};
    core::atomic_write(folder / grid_page_name(page), image::encode_png(image::sheet({section}, style)));
  }
  if (pages < all_pages)
    core::log_warn("{} pages of the grid are written, {} would be needed; every picture is in {}", pages,
                   all_pages, folder.string());
  return pages;
}

}  // namespace microdit::eval
