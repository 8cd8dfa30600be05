// Names of pictures, and GenEval's folders.
#include "eval/layout.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/utf8.h"
#include "eval/picture_notes.h"
#include "image/decode.h"
#include "image/encode.h"
#include "image/grid.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> read_bytes(const fs::path& file) {
  const std::string text = core::read_text(file);
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

std::string prompt_folder(std::size_t prompt) {
  return fmt::format("{:05d}", prompt);
}

}  // namespace

std::string picture_name(const std::string& layout, std::size_t prompt, std::size_t k, std::size_t index) {
  return layout == "geneval" ? fmt::format("{}/samples/{:04d}.png", prompt_folder(prompt), k)
                             : fmt::format("{:06d}.png", index);
}

std::string trajectory_name(const Item& item) {
  return fs::path(item.name).replace_extension().string() + "_trajectory.png";
}

image::Image read_picture(const fs::path& file) {
  return image::decode(read_bytes(file));
}

namespace {

/// What a whole picture says that it was made of ("" = nothing); nothing where it is missing or damaged.
std::optional<std::string> made_of(const fs::path& file) {
  if (!fs::exists(file)) return std::nullopt;
  try {
    const auto bytes = read_bytes(file);
    const auto text = image::read_png_text(bytes);
    const auto found = text.find("microdit");
    image::decode(bytes);
    return found == text.end() ? "" : found->second;
  } catch (const image::BadImage&) {
    return std::nullopt;
  }
}

}  // namespace

std::string strip_settings(const Item& item, std::int64_t states) {
  core::Json settings = item.settings;
  settings["trajectory"] = states;
  return settings.dump();
}

namespace {

/// Whether two texts of pictures say the same picture; one that is no JSON says none.
bool same_picture(const std::string& there, const std::string& wanted) {
  const core::Json a = core::Json::parse(there, nullptr, false), b = core::Json::parse(wanted);
  return a.is_object() && without_surroundings(a) == without_surroundings(b);
}

}  // namespace

bool strip_is_there(const Item& item, std::int64_t states, const fs::path& file, bool noted) {
  const std::optional<std::string> settings = made_of(file);
  return settings && (noted ? same_picture(*settings, strip_settings(item, states)) : settings->empty());
}

bool is_there(const Item& item, const fs::path& file, bool noted) {
  const std::optional<std::string> settings = made_of(file);
  if (!settings) return false;
  if (noted ? same_picture(*settings, item.settings.dump()) : settings->empty()) return true;
  core::user_error("{}: is a picture of another call; name another folder (out=...), or move it away",
                   file.string());
}

void check_layout(const std::string& layout, const PromptList& list) {
  if (layout != "geneval") return;
  if (list.lines.size() != list.prompts.size() || list.lines.empty())
    core::user_error(
        "layout=geneval: the prompts must come from one .jsonl file alone, GenEval's "
        "prompts/evaluation_metadata.jsonl: --prompts FILE.jsonl");
  for (const std::string& line : list.lines) {
    const core::Json object = core::parse_foreign_json(line, "--prompts");
    if (const auto tag = object.find("tag"); tag == object.end() || !tag->is_string())
      core::user_error("layout=geneval: a line has no text \"tag\": {}", core::shortened(line, 200));
  }
}

void write_geneval(const fs::path& folder, const PromptList& list, std::size_t per_prompt,
                   const std::function<image::Image(std::size_t)>& picture) {
  const auto columns = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(per_prompt))));
  for (std::size_t prompt = 0; prompt < list.lines.size(); ++prompt) {
    const fs::path home = folder / prompt_folder(prompt);
    std::vector<image::Image> pictures;
    for (std::size_t k = 0; k < per_prompt; ++k) pictures.push_back(picture(prompt * per_prompt + k));
    core::atomic_write(home / "grid.png", image::encode_png(image::grid(pictures, {}, {.columns = columns})));
    core::atomic_write(home / "metadata.jsonl", list.lines[prompt] + "\n");
  }
}

}  // namespace microdit::eval
