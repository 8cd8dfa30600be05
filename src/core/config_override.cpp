// key=value words of the command line. YAML reads the value, but it may not silently take less than was
// given: an unset shell variable, a '#', a '&' would then mean "the default".
#include <algorithm>
#include <charconv>

#include "core/config_node.h"
#include "core/error.h"
#include "core/utf8.h"

namespace microdit::core::detail {
namespace {

using Node = ConfigTree::Node;

/// A letter that YAML has no use for; it stands in for '#'.
constexpr std::string_view kStandIn = "\xef\xb8\xbf";

std::string trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == text.npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(kBlank) - first + 1));
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

void restore(Node& node) {
  node.text = replaced(std::move(node.text), kStandIn, "#");
  for (auto& [key, member] : node.members) {
    key = replaced(std::move(key), kStandIn, "#");
    restore(member);
  }
  for (Node& item : node.items) restore(item);
}

bool equal(const Node& a, const Node& b) {
  if (a.kind != b.kind || a.text != b.text || a.quoted != b.quoted) return false;
  const auto members = [](const auto& x, const auto& y) {
    return x.first == y.first && equal(x.second, y.second);
  };
  return std::ranges::equal(a.members, b.members, members) && std::ranges::equal(a.items, b.items, equal);
}

/// How to give `text` as it stands: YAML's single quotes, inside the shell's double ones where that suffices.
std::string quoted_word(const std::string& key, const std::string& text) {
  const std::string yaml = fmt::format("'{}'", replaced(text, "'", "''"));
  if (text.find_first_of("\"$`\\!\n") == text.npos) return fmt::format("{}=\"{}\"", key, yaml);
  return fmt::format("'{}={}'", key, replaced(yaml, "'", "'\\''"));
}

[[noreturn]] void refuse(const std::string& where, const std::string& key, const std::string& value,
                         const std::string& why) {
  user_error("{}: {}; to give it as text, write {}", where, why, quoted_word(key, value));
}

/// The value as YAML has it, when YAML takes all of it.
Node value_of(const std::string& key, const std::string& text, const std::string& where) {
  const std::string value = trimmed(text);
  if (value.empty())
    user_error("{}: nothing stands after '='; write {}=null for the default, or {}=\"''\" for empty text",
               where, key, key);
  if (std::string_view("&!%@`*|>").find(value[0]) != std::string_view::npos)
    refuse(where, key, value,
           fmt::format("YAML does not take a value that begins with '{}' as it stands", value[0]));
  Node node = parse_yaml(value, where, true);
  if (value.find('#') != value.npos) {
    Node whole = parse_yaml(replaced(value, "#", kStandIn), where, true);
    restore(whole);
    if (!equal(node, whole)) refuse(where, key, value, "YAML takes '#' for the beginning of a comment");
  }
  if (node.kind == Node::Kind::null && value != "~" && value != "null" && value != "Null" && value != "NULL")
    refuse(where, key, value, "YAML takes this value for nothing");
  if (node.kind == Node::Kind::scalar && !node.quoted && node.text != value)
    refuse(where, key, value, fmt::format("YAML takes '{}' of it only", node.text));
  if (node.kind == Node::Kind::scalar && node.quoted && (value.size() < 2 || value.front() != value.back()))
    refuse(where, key, value, "a quotation mark is not closed");
  if (node.kind != Node::Kind::scalar && value.find('\n') != value.npos &&
      (value[0] == '[' || value[0] == '{'))
    refuse(where, key, value, "a line's end in it would become a space");
  return node;
}

/// The child `key` of `node`: a list's element, or a member that is made when absent.
Node& child(Node& node, const std::string& key, const std::string& where) {
  if (node.kind == Node::Kind::list) {
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (error != std::errc() || end != key.data() + key.size() || index >= node.items.size()) {
      user_error("{}: '{}' is no index into a list of {} items (0 is the first)", where, key,
                 node.items.size());
    }
    return node.items[index];
  }
  if (node.kind == Node::Kind::scalar) {
    user_error("{}: '{}' cannot be set inside the value {} ({})", where, key, describe(node), node.where);
  }
  if (node.kind == Node::Kind::null) node = Node{.kind = Node::Kind::map, .where = where};
  if (Node* present = node.find(key)) return *present;
  node.members.emplace_back(key, Node{.where = where});
  return node.members.back().second;
}

}  // namespace

void merge(Node& base, Node over) {
  if (base.kind != Node::Kind::map || over.kind != Node::Kind::map) {
    base = std::move(over);
    return;
  }
  base.where = over.where;
  for (auto& [key, node] : over.members) {
    if (Node* present = base.find(key)) {
      merge(*present, std::move(node));
    } else {
      base.members.emplace_back(key, std::move(node));
    }
  }
}

void apply_override(Node& root, const std::string& text) {
  check_text(text, fmt::format("command line: {}", with_valid_utf8(text)));
  const std::string where = "command line: " + text;
  const std::size_t equals = text.find('=');
  if (equals == text.npos || equals == 0)
    user_error("{}: expected key=value, such as optimizer.lr=1e-4", where);
  const std::string keys = text.substr(0, equals);
  Node* node = &root;
  for (std::size_t begin = 0; begin <= keys.size();) {
    const std::size_t dot = std::min(keys.find('.', begin), keys.size());
    if (dot == begin) user_error("{}: '{}' has an empty part between dots", where, keys);
    node = &child(*node, keys.substr(begin, dot - begin), where);
    begin = dot + 1;
  }
  merge(*node, value_of(keys, text.substr(equals + 1), where));
}

}  // namespace microdit::core::detail
