// Files into one tree: extends, overrides, environment variables.
#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "core/atomic_file.h"
#include "core/config_node.h"
#include "core/error.h"
#include "core/shipped.h"
#include "core/utf8.h"

namespace microdit::core {
namespace {

namespace fs = std::filesystem;
using Node = ConfigTree::Node;
constexpr std::uintmax_t kMaxFileBytes = 4u << 20;

std::string upper(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

/// Why a configuration, which may be a stranger's, does not get this variable's value; "" when it does. Addresses and
/// printed settings carry values away: what may be a secret never gets there, and the rest only by name.
std::string why_withheld(const std::string& name) {
  const std::string large = upper(name);
  for (const char* secret : {"TOKEN", "KEY", "SECRET", "PASS"}) {
    if (large.find(secret) != large.npos)
      return fmt::format("the environment variable {} may hold a secret and is not put into configurations",
                         name);
  }
  if (name.starts_with("MICRODIT_") || name.starts_with("SLURM_")) return "";
  for (const char* known : {"HOME", "USER", "SCRATCH", "WORK"})
    if (name == known) return "";
  const char* more = std::getenv("MICRODIT_ENV_ALLOW");
  std::string_view rest = more != nullptr ? more : "";
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find_first_of(" ,:"), rest.size());
    if (rest.substr(0, end) == name) return "";
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return fmt::format(
      "the environment variable {0} is not one that configurations may use (MICRODIT_*, SLURM_*, HOME, USER, "
      "SCRATCH, "
      "WORK): allow it with export MICRODIT_ENV_ALLOW={0}",
      name);
}

/// Replaces ${NAME}; $${ stands for a literal ${.
std::string expand(const std::string& text, const std::string& where, std::vector<std::string>& errors) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    if (text.compare(i, 3, "$${") == 0) {
      result += "${";
      i += 3;
      continue;
    }
    if (text.compare(i, 2, "${") != 0) {
      result += text[i++];
      continue;
    }
    const std::size_t close = text.find('}', i);
    const std::string name = close == text.npos ? "" : text.substr(i + 2, close - i - 2);
    const bool is_name =
        !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
        std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
    if (!is_name) {
      errors.push_back(fmt::format(
          "{}: '{}': ${{NAME}} with a variable's name is meant (write $${{ for a literal ${{)", where, text));
      return text;
    }
    if (const std::string why = why_withheld(name); !why.empty()) {
      errors.push_back(fmt::format("{}: {}", where, why));
      return text;
    }
    const char* value = std::getenv(name.c_str());
    if (name == "MICRODIT_DATA") {
      result +=
          data_root().string();  // absolute however it was given: a path in facts must not depend on that
    } else if (value != nullptr) {
      result += value;
    } else {
      errors.push_back(fmt::format("{}: the environment variable {} is not set", where, name));
    }
    i = close + 1;
  }
  return result;
}

void expand_all(Node& node, std::vector<std::string>& errors) {
  if (node.kind == Node::Kind::scalar) node.text = expand(node.text, node.where, errors);
  for (auto& [key, member] : node.members) expand_all(member, errors);
  for (Node& item : node.items) expand_all(item, errors);
}

Node load_file(const fs::path& path, std::vector<fs::path>& chain);

/// Replaces the `extends` member of `own` by what it names, merged in order below `own`.
Node extended(Node own, const fs::path& folder, std::vector<fs::path>& chain) {
  const auto found = std::find_if(own.members.begin(), own.members.end(),
                                  [](auto& member) { return member.first == "extends"; });
  if (found == own.members.end()) return own;
  Node names = std::move(found->second);
  own.members.erase(found);
  if (names.kind == Node::Kind::scalar) names.items.push_back(names);
  if (names.kind == Node::Kind::map)
    user_error("{}: extends: expected a file name or a list of them", names.where);
  Node merged{.kind = Node::Kind::map, .where = own.where};
  std::vector<std::string> errors;
  for (Node& name : names.items) {
    if (name.kind != Node::Kind::scalar)
      user_error("{}: extends: expected a file name, found {}", name.where, detail::describe(name));
    const std::string text = expand(name.text, name.where, errors);
    fs::path base = (folder / text).lexically_normal();
    detail::throw_errors(errors);
    if (!fs::exists(base) && text.starts_with("configs/")) base = shipped(text);
    if (!fs::exists(base)) user_error("{}: extends: there is no file {}", name.where, base.string());
    detail::merge(merged, load_file(base, chain));
  }
  detail::merge(merged, std::move(own));
  return merged;
}

Node mapping_of(std::string_view yaml, const std::string& origin) {
  Node node = detail::parse_yaml(yaml, origin, false);
  if (node.kind == Node::Kind::null) node.kind = Node::Kind::map;
  if (node.kind != Node::Kind::map)
    user_error("{}: expected 'key: value' lines, found {}", node.where, detail::describe(node));
  return node;
}

Node load_file(const fs::path& path, std::vector<fs::path>& chain) {
  std::error_code error;
  const fs::path canonical = fs::weakly_canonical(path, error);
  if (std::find(chain.begin(), chain.end(), canonical) != chain.end()) {
    std::string names;
    for (const fs::path& link : chain) names += link.filename().string() + " -> ";
    user_error("{}: extends itself: {}{}", path.string(), names, canonical.filename().string());
  }
  if (fs::is_regular_file(path, error) && fs::file_size(path, error) > kMaxFileBytes) {
    user_error("{}: larger than {} bytes, this is no configuration", path.string(), kMaxFileBytes);
  }
  const std::string yaml = read_text(path);
  if (const std::string_view other = marked_encoding(yaml); !other.empty())
    user_error("{}: is {}; save it as UTF-8", path.string(), other);
  check_text(yaml, path.string() + ":");
  chain.push_back(canonical);
  Node node = extended(mapping_of(yaml, path.string()), path.parent_path(), chain);
  chain.pop_back();
  return node;
}

}  // namespace

ConfigTree::ConfigTree() : root_(std::make_unique<Node>()) {}
ConfigTree::~ConfigTree() = default;
ConfigTree::ConfigTree(ConfigTree&&) noexcept = default;
ConfigTree& ConfigTree::operator=(ConfigTree&&) noexcept = default;

ConfigTree ConfigTree::load(const fs::path& path, const std::vector<std::string>& overrides) {
  ConfigTree tree;
  std::vector<fs::path> chain;
  *tree.root_ = load_file(shipped(path), chain);
  for (const std::string& text : overrides) detail::apply_override(*tree.root_, text);
  std::vector<std::string> errors;
  expand_all(*tree.root_, errors);
  detail::throw_errors(errors);
  return tree;
}

ConfigTree ConfigTree::parse(std::string_view yaml, std::string_view origin) {
  ConfigTree tree;
  const std::string name(origin);
  std::vector<fs::path> chain;
  *tree.root_ = extended(mapping_of(yaml, name), fs::path(name).parent_path(), chain);
  std::vector<std::string> errors;
  expand_all(*tree.root_, errors);
  detail::throw_errors(errors);
  return tree;
}

ConfigTree ConfigTree::of_overrides(const std::vector<std::string>& overrides) {
  ConfigTree tree;
  *tree.root_ = Node{.kind = Node::Kind::map, .where = "command line"};
  for (const std::string& text : overrides) detail::apply_override(*tree.root_, text);
  std::vector<std::string> errors;
  expand_all(*tree.root_, errors);
  detail::throw_errors(errors);
  return tree;
}

ConfigTree ConfigTree::of_json(const Json& json, const std::string& origin) {
  if (!json.is_object()) user_error("{}: expected a JSON object, found {}", origin, json.type_name());
  ConfigTree tree;
  *tree.root_ = detail::node_of(json, origin);
  return tree;
}

fs::path data_root() {
  const char* value = std::getenv("MICRODIT_DATA");
  return fs::absolute(value != nullptr && *value != '\0' ? value : "data").lexically_normal();
}

}  // namespace microdit::core
