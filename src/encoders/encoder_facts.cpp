// Hints to folders.
#include "encoders/encoder_facts.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <system_error>
#include <vector>

#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/shipped.h"
#include "encoders/fetch_command.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

bool is_inside(const fs::path& path, const fs::path& folder) {
  const fs::path relative = path.lexically_relative(folder);
  return !relative.empty() && relative != "." && *relative.begin() != "..";
}

/// All places where the weights may be, in order.
std::vector<fs::path> places(const std::string& hint, const fs::path& run_folder) {
  const fs::path stored(hint), name = core::whole_path(stored).filename();
  std::vector<fs::path> found;
  if (stored.is_absolute()) {
    found.push_back(stored);
  } else if (!stored.empty()) {
    found.push_back(core::whole_path(core::data_root() / stored));
    for (const fs::path& home : core::homes()) found.push_back(core::whole_path(home / stored));
  }
  found.push_back(core::data_root() / "weights" / name);
  for (const fs::path& home : core::homes()) found.push_back(home / "assets" / name);
  if (!run_folder.empty()) found.push_back(core::whole_path(run_folder) / name);
  std::vector<fs::path> distinct;
  for (fs::path& place : found) {
    if (std::ranges::find(distinct, place) == distinct.end()) distinct.push_back(std::move(place));
  }
  return distinct;
}

}  // namespace

void CodecFacts::fields(core::Fields& f) {
  f.field("kind", kind, {.required = true});
  f.field("folder", folder);
  f.field("sha256", sha256, {.required = true});
  if (f.reading() || !network.empty()) f.field("network", network);
  f.field("scaling_factor", scaling_factor, {.min = 0, .exclusive_min = true, .required = true});
  f.field("shift_factor", shift_factor);
  // Written only where there are some: facts of before they were known stay the same text.
  if (f.reading() || !latents_mean.empty()) f.field("latents_mean", latents_mean);
  if (f.reading() || !latents_std.empty()) f.field("latents_std", latents_std);
  f.field("channels", channels, {.min = 1, .required = true});
  f.field("downscale", downscale, {.min = 1, .required = true});
}

void TextEncoderFacts::fields(core::Fields& f) {
  f.field("kind", kind, {.required = true});
  f.field("folder", folder);
  f.field("sha256", sha256, {.required = true});
  if (f.reading() || !network.empty()) f.field("network", network);
  if (f.reading() || !tokenizer_sha256.empty()) f.field("tokenizer_sha256", tokenizer_sha256);
  f.field("width", width, {.min = 1, .required = true});
  f.field("pads", pads, {.choices = {"zero", "encoder"}});
  // Written only where it is not the plain one: facts of before it was known stay the same text.
  if (f.reading() || precision != "fp32") f.field("precision", precision, {.choices = {"fp32", "bf16"}});
  if (f.reading() || vocabulary > 0) f.field("vocabulary", vocabulary, {.min = 0});
}

std::string folder_hint(const fs::path& folder) {
  if (folder.empty()) return "";
  const fs::path here = core::whole_path(folder);
  if (is_inside(here, core::data_root() / "weights"))
    return here.lexically_relative(core::data_root()).generic_string();
  for (const fs::path& home : core::homes()) {
    if (is_inside(here, home / "assets")) return here.lexically_relative(home).generic_string();
  }
  return here.generic_string();
}

fs::path find_folder(const Sought& sought, const fs::path& run_folder) {
  std::vector<std::string> looked_at;
  const std::vector<fs::path> all = places(sought.hint, run_folder);
  for (const fs::path& place : all) {
    std::error_code error;
    if (!fs::is_directory(place, error)) {
      // Of the many folders above the program only those are told that are there.
      if (place.string().find("/assets/") == std::string::npos)
        looked_at.push_back(place.string() + ": not there");
      continue;
    }
    try {
      const std::string sha256 = sought.sha256_of(place);
      const std::string difference = sha256 == sought.sha256
                                         ? sought.difference(place)
                                         : fmt::format("other weights (SHA-256 {})", sha256);
      if (difference.empty()) return place;
      looked_at.push_back(fmt::format("{}: {}", place.string(), difference));
    } catch (const core::UserError& wrong) {
      looked_at.push_back(wrong.what());
    }
  }
  const std::string name = core::whole_path(sought.hint).filename().string();
  core::user_error(
      "the {} that the run was trained with (SHA-256 {}) is not found:\n  {}\n  assets/{} "
      "beside the program or in the folder it was started in: none with these weights\n"
      "Put the folder where it is looked for, for example: cp -r FOLDER {}{}",
      sought.what, sought.sha256, fmt::join(looked_at, "\n  "), name,
      (core::data_root() / "weights" / name).string(), how_to_fetch(core::data_root() / "weights" / name));
}

}  // namespace microdit::encoders
