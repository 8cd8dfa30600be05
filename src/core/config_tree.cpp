// Files into one tree: extends, groups, overrides.
#include <algorithm>
#include <cstdlib>

#include "core/atomic_file.h"
#include "core/config_node.h"
#include "core/config_origins.h"
#include "core/error.h"
#include "core/shipped.h"
#include "core/utf8.h"

namespace microdit::core {
namespace {

namespace fs = std::filesystem;
using Node = ConfigTree::Node;

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
    const std::string text = detail::with_variables(name.text, name.where, errors);
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
  if (fs::is_regular_file(path, error) && fs::file_size(path, error) > detail::kMostFileBytes) {
    user_error("{}: larger than {} bytes, this is no configuration", path.string(), detail::kMostFileBytes);
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

Node detail::load_file(const fs::path& path) {
  std::vector<fs::path> chain;
  return core::load_file(path, chain);
}

ConfigTree::ConfigTree() : root_(std::make_unique<Node>()) {}
ConfigTree::~ConfigTree() = default;
ConfigTree::ConfigTree(ConfigTree&&) noexcept = default;
ConfigTree& ConfigTree::operator=(ConfigTree&&) noexcept = default;

ConfigTree ConfigTree::load(const fs::path& path, const std::vector<std::string>& overrides) {
  ConfigTree tree;
  *tree.root_ = detail::load_file(shipped(path));
  std::vector<std::string> words;  // groups first: what is said of a key holds, wherever it stands
  for (const std::string& text : overrides)
    if (!detail::apply_group(*tree.root_, text, path)) words.push_back(text);
  for (const std::string& text : words) detail::apply_override(*tree.root_, text);
  detail::replace_references(*tree.root_);
  return tree;
}

ConfigTree ConfigTree::parse(std::string_view yaml, std::string_view origin) {
  ConfigTree tree;
  const std::string name(origin);
  std::vector<fs::path> chain;
  *tree.root_ = extended(mapping_of(yaml, name), fs::path(name).parent_path(), chain);
  detail::replace_references(*tree.root_);
  return tree;
}

namespace {

void collect(const Node& node, const std::string& key, std::vector<GivenValue>& values) {
  const std::string start = key.empty() ? "" : key + ".";
  for (const auto& [name, member] : node.members) collect(member, start + name, values);
  for (std::size_t i = 0; i < node.items.size(); ++i)
    collect(node.items[i], start + std::to_string(i), values);
  if (node.members.empty() && node.items.empty())
    values.push_back({key, node.text, node.where, node.kind != Node::Kind::scalar});
}

}  // namespace

std::vector<GivenValue> given_values(const ConfigTree& tree) {
  std::vector<GivenValue> values;
  collect(tree.root(), "", values);
  return values;
}

ConfigTree ConfigTree::of_overrides(const std::vector<std::string>& overrides) {
  ConfigTree tree;
  *tree.root_ = Node{.kind = Node::Kind::map, .where = "command line"};
  for (const std::string& text : overrides) detail::apply_override(*tree.root_, text);
  detail::replace_references(*tree.root_);
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
