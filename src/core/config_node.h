// Private to core: the untyped configuration tree.
#pragma once

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
/// "a.b=value" into the tree. UserError when it is malformed or YAML would take less than the whole value.
void apply_override(ConfigTree::Node& root, const std::string& text);
/// Throws the errors, if there are any, as one UserError.
void throw_errors(const std::vector<std::string>& errors);
/// That a value is not among `choices`, and of one that others offer also why, and what to take instead.
std::string not_one_of(std::string_view given, const std::vector<std::string>& choices);
/// " (did you mean 'x'?)" when one of `known` is close, else their list.
std::string suggestion(std::string_view given, const std::vector<std::string>& known);

}  // namespace detail
}  // namespace microdit::core
