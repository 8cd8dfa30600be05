// Private to core: the untyped configuration tree.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config.h"

namespace microdit::core {

struct ConfigTree::Node {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string text{};   ///< of a scalar
  bool quoted = false;  ///< a scalar that can only be a string
  std::string where{};  ///< "file:line", or the override
  enum class References { open, busy, replaced } references = References::open;
  std::vector<std::pair<std::string, Node>> members{};
  std::vector<Node> items{};

  /// The member of that name, or nullptr; a null member is there.
  const Node* find(std::string_view key) const;
  Node* find(std::string_view key);
};

namespace detail {

/// "a section", "a list", "'text'": what a node is, for messages.
std::string describe(const ConfigTree::Node& node);
/// One YAML document without extends. `origin` is its name; with `whole_origin` lines are left out of
/// `where`.
ConfigTree::Node parse_yaml(std::string_view yaml, std::string_view origin, bool whole_origin);
/// JSON as a node; every `where` is `origin`.
ConfigTree::Node node_of(const Json& json, const std::string& origin);
/// `over` wins; mappings merge, everything else is replaced, null resets to "not given".
void merge(ConfigTree::Node& base, ConfigTree::Node over);
inline constexpr std::uintmax_t kMostFileBytes = 4u << 20;  ///< more is no configuration
/// A YAML file with what it extends.
ConfigTree::Node load_file(const std::filesystem::path& path);
/// A word of the command line into the tree: "a.b=value" sets, "+a.b=value" adds a key or an element of a list, "~a.b" takes away.
/// UserError when it is malformed or YAML would take less than the whole value.
void apply_override(ConfigTree::Node& root, const std::string& text);
/// "section=NAME" where sections/NAME.yaml lies beside the folder of the file `config`, in it, or in configs/: what that file says,
/// instead of what files of its folder said. False: no such word. UserError: the folder has no such file (it says which it has).
bool apply_group(ConfigTree::Node& root, const std::string& text, const std::filesystem::path& config);
/// Replaces ${NAME} by environment variables; $${ stands for a literal ${.
std::string with_variables(const std::string& text, const std::string& where,
                           std::vector<std::string>& errors);
/// The same in the whole tree, and ${key} by the value that the tree has for that key. Throws all errors.
void replace_references(ConfigTree::Node& root);
/// The text without the underscores that stand between digits; nullopt when one stands elsewhere.
std::optional<std::string> without_separators(std::string_view text);
std::optional<double> number_of(const ConfigTree::Node& node);
std::optional<std::int64_t> integer_of(const ConfigTree::Node& node);
std::optional<bool> boolean_of(const ConfigTree::Node& node);
/// Throws the errors, if there are any, as one UserError.
void throw_errors(const std::vector<std::string>& errors);
/// That a value is not among `choices`, and of one that others offer also why, and what to take instead.
std::string not_one_of(std::string_view given, const std::vector<std::string>& choices);
/// "; did you mean 'x'?" when one of `known` is close, or `elsewhere` has that name in another section (dotted), else their list.
std::string suggestion(std::string_view given, const std::vector<std::string>& known,
                       const std::vector<std::string>& elsewhere = {});

}  // namespace detail
}  // namespace microdit::core
