// What generate painted, as pages for people: grid.png, grid_2.png, ...
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "image/image.h"

namespace microdit::eval {

struct TrainedRun;

/// "heun, 30 steps, guidance 4; checkpoint step 2500, averaged weights": how pictures were made, beneath them.
std::string made_by(const TrainedRun& run);

/// One line per prompt with its caption once, at the left; several prompts in a line where each has one picture.
/// `picture(i)`: number i of the list, `per_prompt` of each prompt. At most 50 pages, and says so. Their number.
std::size_t write_grid_pages(const std::filesystem::path& folder, const std::vector<std::string>& prompts,
                             std::size_t per_prompt, const std::string& note,
                             const std::function<image::Image(std::size_t)>& picture);

/// grid.png, grid_2.png, grid_3.png ...
std::string grid_page_name(std::size_t page);

}  // namespace microdit::eval
