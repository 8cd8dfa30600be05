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

/// added_tokens_decoder: id -> token, in order of id.
void add_decoder(const Json& decoder, const fs::path& path, std::vector<AddedToken>& all) {
  const std::string where = path.string() + ": added_tokens_decoder";
  if (!decoder.is_object()) core::user_error("{}: must be an object id -> token", where);
  std::map<std::int32_t, AddedToken> tokens;
  for (const auto& [key, token] : decoder.items()) {
    std::int32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      core::user_error("{}: \"{}\" is no id", where, core::shortened(key, 40));
    tokens[id] = parse_token(token, !flag(token, "special", false, where), where + "." + key);
  }
  for (const auto& [id, token] : tokens) add(token, all);
}

/// added_tokens of tokenizer.json: a list of tokens with ids.
void add_list(const Json& list, std::vector<AddedToken>& all) {
  const std::string where = "tokenizer.json: added_tokens";
  if (!list.is_array()) core::user_error("{}: must be a list", where);
  std::multimap<std::int32_t, AddedToken> tokens;
  for (const Json& token : list) {
    if (!token.is_object() || !token.contains("id") || !token["id"].is_number_unsigned() ||
        token["id"].get<std::uint64_t>() >= kMostPieces + kMostAddedTokens)
      core::user_error("{}: an entry has no \"id\", or one beyond {}", where, kMostPieces);
    tokens.emplace(token["id"].get<std::int32_t>(),
                   parse_token(token, !flag(token, "special", false, where), where));
  }
  for (const auto& [id, token] : tokens) add(token, all);
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
  set_names(out.config, true, config_path, out.named);
  if (const auto decoder = out.config.find("added_tokens_decoder"); decoder != out.config.end()) {
    add_decoder(*decoder, config_path, out.all);
  } else {
    set_names(read_settings(map_path), false, map_path, out.named);
    if (tokenizer_json.is_object() && tokenizer_json.contains("added_tokens"))
      add_list(tokenizer_json["added_tokens"], out.all);
  }
  std::set<std::string, std::less<>> known;
  for (const AddedToken& token : out.all) known.insert(token.content);
  for (const char* name : kNames)
    if (const auto found = out.named.find(name);
        found != out.named.end() && !known.contains(found->second.content))
      add(found->second, out.all);
  for (const auto& [name, token] : out.named) known.insert(token.content);
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"})
    for (const AddedToken& token : read_list(out.config, key, config_path))
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
