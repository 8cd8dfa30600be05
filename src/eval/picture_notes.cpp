// Writing and reading notes in pictures.
#include "eval/picture_notes.h"

#include <charconv>
#include <string_view>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/utf8.h"
#include "image/decode.h"
#include "image/encode.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;
constexpr std::uintmax_t kLargestPicture = 256U << 20U;
constexpr std::size_t kLeastSettings = 3;  // fewer on the last line: it is the prompt's

/// As that form wants it where a value holds what divides values.
std::string quoted(const std::string& value) {
  return value.find_first_of(",:\n\"") == value.npos ? value : core::Json(value).dump();
}

struct Setting {
  std::string key, value;
};

/// "Steps: 30, Sampler: Euler a, Model: \"a, b\"": nothing where the line is of another form.
std::vector<Setting> settings_of(std::string_view line) {
  std::vector<Setting> found;
  while (!line.empty()) {
    const std::size_t colon = line.find(':');
    if (colon == line.npos || colon == 0) return {};
    Setting setting{std::string(line.substr(0, colon)), {}};
    if (setting.key.find_first_of(",\"") != std::string::npos) return {};
    line.remove_prefix(colon + 1);
    while (line.starts_with(' ')) line.remove_prefix(1);
    std::size_t end = 0;
    if (line.starts_with('"')) {
      end = 1;
      while (end < line.size() && line[end] != '"') end += line[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, line.size());
    } else {
      end = std::min(line.find(','), line.size());
    }
    setting.value = line.substr(0, end);
    line.remove_prefix(end);
    while (line.starts_with(',') || line.starts_with(' ')) line.remove_prefix(1);
    found.push_back(std::move(setting));
  }
  return found;
}

template <class Number>
bool read_number(const std::string& text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

/// Takes what is known here.
bool take(const Setting& s, PictureNotes& notes) {
  if (s.key == "Seed") return read_number(s.value, notes.seed);
  diffusion::SamplerConfig& sampler = notes.sampler;
  if (s.key == "Steps") {
    std::int64_t steps = 0;
    if (!read_number(s.value, steps) || steps < 1 || steps > 10000) return false;
    sampler.steps = steps;
    sampler.given.emplace_back("steps");
    return true;
  }
  if (s.key == "CFG scale") {
    double guidance = 0;
    if (!read_number(s.value, guidance) || !(guidance >= 1 && guidance <= 1e6)) return false;
    sampler.guidance = guidance;
    sampler.given.emplace_back("guidance");
    return true;
  }
  if (s.key != "Size") return false;
  const std::size_t cross = s.value.find('x');
  std::int64_t width = 0, height = 0;
  if (cross == s.value.npos || !read_number(s.value.substr(0, cross), width) ||
      !read_number(s.value.substr(cross + 1), height) || width != height)
    return false;
  notes.size = width;
  return true;
}

}  // namespace

void PictureNotes::fields(core::Fields& f) {
  const core::FieldRule needed{.required = true};
  f.field("prompt", prompt);
  f.field("seed", seed, needed);
  f.field("run", run, needed);
  f.field("step", step, {.min = 0, .required = true});
  f.field("weights", weights, {.required = true, .choices = {"ema", "raw"}});
  f.section("sampler", sampler);
  f.field("precision", precision, {.required = true, .choices = {"fp32", "bf16"}});
  f.field("checkpoint_sha256", checkpoint_sha256, needed);
  f.field("size", size, {.min = 1, .required = true});
  f.field("batch_size", batch_size, {.min = 1, .max = 4096, .required = true});
  f.field("slot", slot, {.min = 0, .required = true});
  f.field("version", version);
  f.field("negative", negative, {.max = 100000});
  f.field("class", class_name, {.max = 1000});
  f.field("trajectory", trajectory, {.min = 0});
  if (f.reading() && slot >= batch_size) f.error("slot", "must be below batch_size");
}

core::Json without_surroundings(core::Json notes) {
  for (const char* key : {"checkpoint_sha256", "size", "batch_size", "slot", "version"}) notes.erase(key);
  return notes;
}

std::string parameters_text(const core::Json& notes, const std::string& path, const image::Image& picture) {
  const std::string negative = notes.value("negative", "");
  const core::Json& sampler = notes.at("sampler");
  return fmt::format(
      "{}\n{}Steps: {}, Sampler: {} {}, CFG scale: {}, Seed: {}, Size: {}x{}, Model hash: {}, Model: {}, "
      "Version: {}",
      notes.at("prompt").get<std::string>(),
      negative.empty() ? "" : fmt::format("Negative prompt: {}\n", negative), sampler.at("steps").dump(),
      path == "edm" ? "EDM" : path, sampler.at("rule").get<std::string>(),
      sampler.at("guidance").get<double>(), notes.at("seed").dump(), picture.width, picture.height,
      notes.at("checkpoint_sha256").get<std::string>().substr(0, 10),
      quoted(notes.at("run").get<std::string>()), notes.at("version").get<std::string>());
}

PictureNotes parse_parameters(const std::string& text, const std::string& where) {
  std::string_view rest = text;
  while (rest.ends_with('\n') || rest.ends_with('\r')) rest.remove_suffix(1);
  const std::size_t last = rest.rfind('\n');
  const std::string_view line = rest.substr(last == rest.npos ? 0 : last + 1);
  const std::vector<Setting> settings = settings_of(line);
  if (settings.size() < kLeastSettings)
    core::user_error("{}: its text `parameters` ends with no line of settings (\"Steps: 30, Seed: 1, ...\")",
                     where);
  PictureNotes notes;
  notes.is_foreign = true;
  for (const Setting& setting : settings)
    if (!take(setting, notes)) notes.not_understood.push_back(setting.key + ": " + setting.value);
  std::string prompts(rest.substr(0, last == rest.npos ? 0 : last));
  constexpr std::string_view kNegative = "Negative prompt: ";
  std::size_t at = prompts.starts_with(kNegative) ? 0 : prompts.find("\n" + std::string(kNegative));
  if (at != prompts.npos) {
    const std::size_t begin = at + kNegative.size() + (at == 0 && prompts.starts_with(kNegative) ? 0 : 1);
    notes.negative = prompts.substr(begin);
    prompts.resize(at);
  }
  notes.prompt = prompts;
  core::check_text(notes.prompt, where + ": the prompt");
  core::check_text(notes.negative, where + ": the negative prompt");
  return notes;
}

PictureNotes read_picture_notes(const fs::path& file) {
  const std::string where = "--from-image " + core::with_valid_utf8(file.string());
  std::error_code error;
  if (!fs::is_regular_file(file, error)) core::user_error("{}: no such file", where);
  if (const std::uintmax_t bytes = fs::file_size(file, error); error || bytes > kLargestPicture)
    core::user_error("{}: larger than {} MiB: no picture of generate's", where, kLargestPicture >> 20U);
  const std::string bytes = core::read_text(file);
  const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
  std::map<std::string, std::string> texts;
  try {
    texts = image::read_png_text({data, data + bytes.size()});
  } catch (const image::BadImage& wrong) {
    core::user_error("{}: {}", where, wrong.what());
  }
  if (const auto own = texts.find("microdit"); own != texts.end()) {
    const core::Json json = core::parse_json(own->second, where + ", its text `microdit`");
    if (!json.is_object()) core::user_error("{}: its text `microdit` is no JSON object", where);
    PictureNotes notes = core::load<PictureNotes>(core::ConfigTree::of_json(json, where));
    if (notes.trajectory > 0)
      core::user_error("{}: is the strip of a picture's way from the noise; name the picture itself", where);
    core::check_text(notes.prompt, where + ": the prompt");
    core::check_text(notes.negative, where + ": the negative prompt");
    core::check_text(notes.class_name, where + ": the class");
    return notes;
  }
  if (const auto line = texts.find("parameters"); line != texts.end())
    return parse_parameters(line->second, where);
  core::user_error(
      "{}: it does not say how it was made (no text `microdit` or `parameters`; metadata=false leaves them "
      "out)",
      where);
}

std::string suite_version() {
  return "microdit " MICRODIT_VERSION;
}

}  // namespace microdit::eval
