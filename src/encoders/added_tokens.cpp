// The rules of transformers' from_pretrained for added tokens.
#include "encoders/added_tokens.h"

#include <charconv>
#include <set>

#include "core/error.h"
#include "core/utf8.h"
#include "encoders/tokenizer_files.h"
#include "encoders/tokenizer_limits.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;
using core::Json;

constexpr const char* kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

bool flag(const Json& token, const char* key, bool fallback, const std::string& where) {
  const auto found = token.find(key);
  if (found == token.end()) return fallback;
  if (!found->is_boolean()) core::user_error("{}: {} must be true or false", where, key);
  return found->get<bool>();
}

/// A token as text, or as an object with content and flags; `normalized` where the object does not say.
AddedToken parse_token(const Json& token, bool normalized, const std::string& where) {
  AddedToken out;
  if (token.is_string()) {
    out.content = token.get<std::string>();
  } else if (token.is_object() && token.contains("content") && token["content"].is_string()) {
    out = {token["content"].get<std::string>(), flag(token, "normalized", normalized, where)};
    if (flag(token, "single_word", false, where))
      core::user_error("{}: single_word is true, which is not supported", where);
  } else {
    core::user_error("{}: must be a token (a text, or an object with \"content\")", where);
  }
  if (out.content.size() > kLongestAddedToken)
    core::user_error("{}: a token of {} bytes (at most {})", where, out.content.size(), kLongestAddedToken);
  return out;
}

Json read_settings(const fs::path& path) {
  return fs::exists(path) ? read_tokenizer_json(path, kLargestSettingsFile) : Json::object();
}

void set_names(const Json& settings, bool normalized, const fs::path& path,
               std::map<std::string, AddedToken>& named) {
  for (const char* name : kNames)
    if (const auto found = settings.find(name); found != settings.end() && !found->is_null())
      named[name] = parse_token(*found, normalized, path.string() + ": " + name);
}

void add(const AddedToken& token, std::vector<AddedToken>& all) {
  if (token.content.empty()) return;
  if (all.size() == kMostAddedTokens)
    core::user_error("more than {} added tokens; \"{}\" is one too many", kMostAddedTokens,
                     core::shortened(token.content, 40));
  all.push_back(token);
}

using TokensById = std::map<std::int64_t, AddedToken>;

/// added_tokens_decoder: id -> token.
void add_decoder(const Json& decoder, const fs::path& path, TokensById& tokens) {
  const std::string where = path.string() + ": added_tokens_decoder";
  if (!decoder.is_object()) core::user_error("{}: must be an object id -> token", where);
  for (const auto& [key, token] : decoder.items()) {
    std::int32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      core::user_error("{}: \"{}\" is no id", where, core::shortened(key, 40));
    tokens[id] = parse_token(token, !flag(token, "special", false, where), where + "." + key);
  }
}

std::int64_t checked_id(const Json& id, const std::string& where) {
  if (!id.is_number_integer() || id < 0 || id >= kMostPieces + kMostAddedTokens)
    core::user_error("{}: {} is no id of a token", where, core::shortened(id.dump(), 40));
  return id.get<std::int64_t>();
}

/// added_tokens.json: token -> id; those that no setting names are looked for in normalised text.
void add_legacy(const fs::path& path, const std::set<std::string>& specials, TokensById& tokens) {
  const Json settings = read_settings(path);
  for (const auto& [content, id] : settings.items())
    tokens[checked_id(id, path.string())] = parse_token(
        Json{{"content", content}, {"normalized", !specials.contains(content)}}, true, path.string());
}

/// added_tokens of tokenizer.json: a list of tokens with ids.
void add_list(const Json& list, const fs::path& path, TokensById& tokens) {
  const std::string where = path.string() + ": added_tokens";
  if (!list.is_array()) core::user_error("{}: must be a list", where);
  for (const Json& token : list) {
    if (!token.is_object()) core::user_error("{}: must be a list of objects", where);
    tokens[checked_id(token.value("id", Json()), where)] =
        parse_token(token, !flag(token, "special", false, where), where);
  }
}

std::vector<AddedToken> read_list(const Json& settings, const char* key, const fs::path& path) {
  const auto found = settings.find(key);
  if (found == settings.end() || found->is_null()) return {};
  const std::string where = path.string() + ": " + key;
  if (!found->is_array()) core::user_error("{}: must be a list of tokens", where);
  std::vector<AddedToken> tokens;
  for (const Json& token : *found) tokens.push_back(parse_token(token, true, where));
  return tokens;
}

}  // namespace

AddedTokens read_added_tokens(const fs::path& folder, std::map<std::string, AddedToken> named,
                              const Json& tokenizer_json) {
  const fs::path config_path = folder / "tokenizer_config.json",
                 map_path = folder / "special_tokens_map.json";
  AddedTokens out{std::move(named), {}, read_settings(config_path)};
  if (flag(out.config, "split_special_tokens", false, config_path.string()))
    core::user_error("{}: split_special_tokens is true, which is not supported", config_path.string());
  set_names(out.config, true, config_path, out.named);
  const auto decoder = out.config.find("added_tokens_decoder");
  const bool legacy = decoder == out.config.end();
  const Json map = legacy ? read_settings(map_path) : Json::object();
  set_names(map, false, map_path, out.named);
  std::vector<AddedToken> extra;
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    const bool in_map = map.contains(key);
    const auto list = read_list(in_map ? map : out.config, key, in_map ? map_path : config_path);
    extra.insert(extra.end(), list.begin(), list.end());
  }
  std::set<std::string> specials;
  for (const auto& [name, token] : out.named) specials.insert(token.content);
  for (const AddedToken& token : extra) specials.insert(token.content);
  TokensById by_id;
  if (legacy) {
    add_legacy(folder / "added_tokens.json", specials, by_id);
    if (tokenizer_json.is_object() && tokenizer_json.contains("added_tokens"))
      add_list(tokenizer_json["added_tokens"], folder / "tokenizer.json", by_id);
  } else {
    add_decoder(*decoder, config_path, by_id);
  }
  std::set<std::string> known;
  for (const auto& [id, token] : by_id) {
    add(token, out.all);
    known.insert(token.content);
  }
  for (const char* name : kNames)
    if (const auto found = out.named.find(name);
        found != out.named.end() && !known.contains(found->second.content))
      add(found->second, out.all);
  for (const auto& [name, token] : out.named) known.insert(token.content);
  for (const AddedToken& token : extra)
    if (known.insert(token.content).second) add(token, out.all);
  return out;
}

AddedTokenSplits make_splits(const std::vector<AddedToken>& tokens,
                             std::string (*normalize)(std::string_view), PieceIds& ids) {
  std::map<std::string_view, bool> last;
  for (const AddedToken& token : tokens) last[token.content] = token.normalized;
  AddedTokenSplits splits;
  for (const AddedToken& token : tokens) {
    const auto id = ids.emplace(token.content, static_cast<std::int32_t>(ids.size())).first->second;
    if (last[token.content])
      splits.normalized.add(normalize(token.content), id);
    else
      splits.raw.add(token.content, id);
  }
  return splits;
}

}  // namespace microdit::encoders
