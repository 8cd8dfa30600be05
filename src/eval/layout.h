// Where generate puts its pictures, and which of them are there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "core/json.h"
#include "eval/prompts.h"
#include "image/image.h"

namespace microdit::eval {

/// One picture to paint.
struct Item {
  std::string prompt;
  std::uint64_t seed = 0;
  std::string name;       ///< below the folder of the call
  core::Json settings;    ///< PictureNotes
  std::int64_t slot = 0;  ///< which of the pictures that are painted together
};

/// Picture `k` of prompt `prompt`, number `index` of all, below the folder of the call. `layout`:
///   flat     000000.png
///   geneval  00000/samples/0000.png, as GenEval's evaluation reads (Ghosh et al. 2023, github.com/djghosh13/geneval)
std::string picture_name(const std::string& layout, std::size_t prompt, std::size_t k, std::size_t index);

/// The item's strip of states, beside its picture.
std::string trajectory_name(const Item& item);

/// UserError, or BadImage.
image::Image read_picture(const std::filesystem::path& file);

/// Whether the picture is there. A damaged file is painted anew, somebody else's picture never painted over: UserError. `noted`:
/// whether this call's pictures say what they are; of those that do not, the folder says it.
bool is_there(const Item& item, const std::filesystem::path& file, bool noted);
/// The same of the strip of its way in `states` states: whatever else is there is painted over.
bool strip_is_there(const Item& item, std::int64_t states, const std::filesystem::path& file, bool noted);
/// What a strip says that it was made of.
std::string strip_settings(const Item& item, std::int64_t states);

/// UserError, with the line: geneval wants a .jsonl file of prompts whose lines have a text `tag`.
void check_layout(const std::string& layout, const PromptList& list);

/// What GenEval wants beside the samples of each prompt: 00000/metadata.jsonl, the prompt's line, and 00000/grid.png.
/// `picture(i)`: number i of the list, `per_prompt` of each prompt.
void write_geneval(const std::filesystem::path& folder, const PromptList& list, std::size_t per_prompt,
                   const std::function<image::Image(std::size_t)>& picture);

}  // namespace microdit::eval
