// probe tokenize, encode_text, clean_captions: lines of JSON strings in.
#include <algorithm>
#include <fstream>

#include "comm/device.h"
#include "core/atomic_file.h"
#include "core/json.h"
#include "encoders/text_encoder.h"
#include "nn/state_dict.h"
#include "probe.h"
#include "text/caption_processor.h"

namespace microdit::jobs {

namespace {

struct TokenizeConfig {
  std::int64_t max_length = 0;
  void fields(core::Fields& f) {
    f.field("max_length", max_length, {.min = 0, .help = "ids at most; 0 = no limit"});
  }
};

struct EncodeTextConfig {
  std::int64_t length = 0;
  std::string device = "cpu", precision = "fp32";
  void fields(core::Fields& f) {
    f.field("device", device, {.choices = {"cpu", "cuda"}});
    f.field("precision", precision, {.choices = {"fp32", "bf16"}});
    f.field("length", length, {.min = 0, .help = "rows; 0 = the longest caption's"});
  }
};

struct CleanConfig {
  std::string clean = "reference";
  void fields(core::Fields& f) {
    f.field("clean", clean, {.choices = {"reference", "gentle"}, .help = "as captions.clean of an entry"});
  }
};

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) core::user_error("{}: cannot be read; give a file with one JSON string per line", path.string());
  std::vector<std::string> texts;
  std::string line;
  for (std::int64_t number = 1; std::getline(file, line); ++number) {
    const std::string origin = fmt::format("{}:{}", path.string(), number);
    const core::Json value = core::parse_json(line, origin);
    if (!value.is_string()) core::user_error("{}: must be a JSON string, is {}", origin, value.type_name());
    texts.push_back(value.get<std::string>());
  }
  return texts;
}

void write_lines(const std::filesystem::path& path, const std::vector<core::Json>& values) {
  std::string text;
  for (const core::Json& value : values) text += value.dump() + "\n";
  core::atomic_write(path, text);
}

}  // namespace

int probe_tokenize(Job& job) {
  const auto config = load_words<TokenizeConfig>(job);
  const auto tokenizer = encoders::load_tokenizer(needed_path(job, "encoder"));
  std::vector<core::Json> ids;
  for (const std::string& text : read_lines(needed_path(job, "input"))) {
    ids.emplace_back(tokenizer->encode(text, config.max_length));
  }
  write_lines(needed_path(job, "output"), ids);
  return core::kDone;
}

int probe_encode_text(Job& job) {
  const auto config = load_words<EncodeTextConfig>(job);
  const auto encoder = encoders::load_text_encoder(needed_path(job, "encoder"), {}, config.precision);
  const std::vector<std::string> texts = read_lines(needed_path(job, "input"));
  if (texts.empty()) core::user_error("{}: holds no line", needed_path(job, "input").string());
  std::int64_t length = config.length;
  if (length == 0) {
    for (const std::string& text : texts) {
      length = std::max(length, static_cast<std::int64_t>(encoder->tokenizer().encode(text).size()));
    }
  }
  encoder->to(torch::Device(comm::choose_device(job.comm, config.device).name()));
  const encoders::EncodedText encoded = encoder->encode(texts, length);
  nn::save_tensors(needed_path(job, "output"), {{"states", encoded.states_BLD}, {"ids", encoded.ids_BL}});
  return core::kDone;
}

int probe_clean_captions(Job& job) {
  const auto config = load_words<CleanConfig>(job);
  std::vector<core::Json> cleaned;
  for (const std::string& caption : read_lines(needed_path(job, "input")))
    cleaned.emplace_back(config.clean == "gentle" ? text::gentle_caption(caption)
                                                  : text::clean_caption(caption));
  write_lines(needed_path(job, "output"), cleaned);
  return core::kDone;
}

}  // namespace microdit::jobs
