// Which tokenizer a folder holds: by the files that are there.
#include <limits>

#include "core/error.h"
#include "core/utf8.h"
#include "encoders/clip_tokenizer.h"
#include "encoders/fetch_command.h"
#include "encoders/open_clip_cleaning.h"
#include "encoders/t5_tokenizer.h"
#include "encoders/tokenizer.h"
#include "encoders/tokenizer_files.h"
#include "encoders/tokenizer_limits.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;
using core::Json;

constexpr const char* kMergesGz = "bpe_simple_vocab_16e6.txt.gz";

bool has(const fs::path& folder, const char* file) {
  return fs::exists(folder / file);
}

/// UserError when open_clip would not take its SimpleTokenizer with clean "lower" for this config.
void check_open_clip(const fs::path& folder) {
  const fs::path path = folder / "open_clip_config.json";
  const Json config = read_tokenizer_json(path, kLargestSettingsFile);
  const Json model = config.value("model_cfg", Json());
  const Json text = model.is_object() ? model.value("text_cfg", Json()) : Json();
  if (!text.is_object()) core::user_error("{}: model_cfg.text_cfg is missing", path.string());
  if (const Json name = text.value("hf_tokenizer_name", Json()); !name.is_null() && name != "")
    core::user_error("{}: hf_tokenizer_name is {}; only open_clip's own CLIP tokenizer is supported",
                     path.string(), name.dump());
  const Json settings = text.value("tokenizer_kwargs", Json::object());
  for (const auto& [key, value] : settings.items())
    if (key != "clean" || value != "lower")
      core::user_error("{}: tokenizer_kwargs.{} is {}; only clean \"lower\" is supported", path.string(), key,
                       value.dump());
}

BpeVocabulary read_open_clip_vocabulary(const fs::path& folder) {
  if (has(folder, kMergesGz)) return read_clip_merges_gz(folder / kMergesGz);
  if (has(folder, "vocab.json") && has(folder, "merges.txt"))
    return read_vocab_and_merges(folder / "vocab.json", folder / "merges.txt");
  const fs::path path = folder / "tokenizer.json";
  if (fs::exists(path)) return bpe_of_tokenizer_json(read_tokenizer_json(path, kLargestTokenizerFile), path);
  core::user_error(
      "{}: holds open_clip_config.json, but no vocabulary; put {} (of open_clip's package), or vocab.json "
      "and "
      "merges.txt there{}",
      folder.string(), kMergesGz, how_to_fetch(folder));
}

std::unique_ptr<Tokenizer> load_tokenizer_json(const fs::path& folder) {
  const fs::path path = folder / "tokenizer.json";
  const Json json = read_tokenizer_json(path, kLargestTokenizerFile);
  const Json model = json.value("model", Json());
  const Json type = model.is_object() ? model.value("type", Json()) : Json();
  if (type == "Unigram") return load_t5_tokenizer(folder, json);
  if (type == "BPE")
    return make_transformers_clip_tokenizer(bpe_of_tokenizer_json(json, path),
                                            read_added_tokens(folder, clip_named_tokens(), json));
  core::user_error("{}: model.type is {}; BPE (CLIP), Unigram (T5), or a vocab.txt beside it (BERT) are read",
                   path.string(), type.dump());
}

/// Of a pipeline's text_encoder (text_encoder_2 ...) the folder tokenizer (tokenizer_2 ...) beside it.
fs::path beside(const fs::path& folder) {
  constexpr std::string_view kind = "text_encoder";
  const fs::path plain = folder.has_filename() ? folder : folder.parent_path();
  const std::string name = plain.filename().string();
  return name.starts_with(kind) ? plain.parent_path() / ("tokenizer" + name.substr(kind.size())) : fs::path();
}

std::int64_t positive(const Json& settings, const char* key, std::int64_t fallback, const fs::path& path) {
  const Json value = settings.value(key, Json());
  if (value.is_null()) return fallback;
  const bool fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() || value.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max());
  if (!fits || value < 1)
    core::user_error("{}: {} is {}, expected a positive integer", path.string(), key,
                     core::shortened(value.dump(), 80));
  return value.get<std::int64_t>();
}

/// The positions that the folder's text encoder has; T5 counts distances and has no end.
std::int64_t num_positions(const fs::path& folder) {
  constexpr std::int64_t no_end = std::numeric_limits<std::int64_t>::max();
  if (const fs::path path = folder / "open_clip_config.json"; fs::exists(path)) {
    check_open_clip(folder);
    const Json config = read_tokenizer_json(path, kLargestSettingsFile);
    return positive(config["model_cfg"]["text_cfg"], "context_length", 77, path);
  }
  const fs::path path = folder / "config.json";
  if (!fs::exists(path)) return no_end;
  const Json config = read_tokenizer_json(path, kLargestSettingsFile);
  const Json text = config.value("text_config", Json());
  return positive(text.is_object() ? text : config, "max_position_embeddings", no_end, path);
}

std::unique_ptr<Tokenizer> try_folder(const fs::path& folder) {
  if (has(folder, "open_clip_config.json")) check_open_clip(folder);
  if (has(folder, "open_clip_config.json") || has(folder, kMergesGz))
    return make_open_clip_tokenizer(read_open_clip_vocabulary(folder), open_clip_clean);
  if (has(folder, "vocab.txt")) return load_wordpiece(folder);
  if (has(folder, "tokenizer.json")) return load_tokenizer_json(folder);
  if (has(folder, "spiece.model")) return load_t5_tokenizer(folder, nullptr);
  if (has(folder, "vocab.json") && has(folder, "merges.txt"))
    return make_transformers_clip_tokenizer(
        read_vocab_and_merges(folder / "vocab.json", folder / "merges.txt"),
        read_added_tokens(folder, clip_named_tokens(), nullptr));
  return nullptr;
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& folder) {
  if (!fs::is_directory(folder))
    core::user_error("{}: no such folder; it must hold a tokenizer's files{}", folder.string(),
                     how_to_fetch(folder));
  if (auto found = try_folder(folder)) return found;
  const fs::path other = beside(folder);
  if (!other.empty() && fs::is_directory(other))
    if (auto found = try_folder(other)) return found;
  core::user_error(
      "{}: no tokenizer in it: put vocab.txt (BERT), {} or vocab.json with merges.txt (CLIP), spiece.model "
      "(T5) "
      "or tokenizer.json there{}",
      folder.string(), kMergesGz, how_to_fetch(folder));
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& folder, std::int64_t length) {
  auto tokenizer = load_tokenizer(folder);
  const std::int64_t most = num_positions(folder);
  if (length < 2 || length > most)
    core::user_error("{}: text length {} is not within 2 and {} (max_position_embeddings)", folder.string(),
                     length, most);
  return tokenizer;
}

}  // namespace microdit::encoders
