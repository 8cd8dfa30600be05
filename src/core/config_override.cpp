// key=value, +key=value and ~key: words of the command line. YAML reads the value, but it may not silently take less than was
// given: an unset shell variable, a '#', a '&' would then mean "the default".
#include <algorithm>
#include <charconv>

#include "core/config_node.h"
#include "core/error.h"
#include "core/nearest.h"
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

/// What one word asks for.
struct Word {
  char sign = ' ';  ///< '+', '~' or ' '
  std::string keys{}, value{}, where{};

  bool adds() const { return sign == '+'; }
};

std::optional<std::size_t> index_of(const std::string& key) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
  if (error != std::errc() || end != key.data() + key.size()) return std::nullopt;
  return index;
}

/// The element `key` of a list; one more where the word adds it.
Node& element(Node& list, const std::string& key, const Word& word) {
  const std::size_t size = list.items.size(), index = index_of(key).value_or(size + 1);
  if (index == size && word.adds()) list.items.push_back(Node{.where = word.where});
  if (index < list.items.size()) return list.items[index];
  user_error("{}: '{}' is no index into a list of {} items (0 is the first){}", word.where, key, size,
             index == size ? fmt::format("; +{} adds one", word.keys)
             : word.adds() ? fmt::format("; the next one is {}", size)
                           : "");
}

/// The child `key` of `node`: a list's element, or a member that is made when absent.
Node& child(Node& node, const std::string& key, const Word& word) {
  if (node.kind == Node::Kind::scalar) {
    user_error("{}: '{}' cannot be set inside the value {} ({})", word.where, key, describe(node),
               node.where);
  }
  if (node.kind == Node::Kind::null)
    node = Node{.kind = word.adds() && key == "0" ? Node::Kind::list : Node::Kind::map, .where = word.where};
  if (node.kind == Node::Kind::list) return element(node, key, word);
  if (Node* present = node.find(key)) return *present;
  node.members.emplace_back(key, Node{.where = word.where});
  return node.members.back().second;
}

std::vector<std::string> parts_of(const Word& word) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= word.keys.size();) {
    const std::size_t dot = std::min(word.keys.find('.', begin), word.keys.size());
    if (dot == begin) user_error("{}: '{}' has an empty part between dots", word.where, word.keys);
    parts.push_back(word.keys.substr(begin, dot - begin));
    begin = dot + 1;
  }
  return parts;
}

/// The key goes, whatever file gave it: it has its default again.
void take_away(Node& root, const Word& word) {
  Node* above = nullptr;
  Node* node = &root;
  for (const std::string& part : parts_of(word)) {
    above = node;
    const std::size_t index = index_of(part).value_or(above->items.size());
    node = above->kind == Node::Kind::list ? (index < above->items.size() ? &above->items[index] : nullptr)
                                           : above->find(part);
    if (node != nullptr) continue;
    std::vector<std::string> names;
    for (const auto& [key, member] : above->members) names.push_back(key);
    const auto near = nearest(part, names);
    user_error("{}: the configuration does not give '{}', so there is nothing to take away{}", word.where,
               word.keys, near ? fmt::format("; did you mean '{}'?", *near) : "");
  }
  std::erase_if(above->members, [&](const auto& member) { return &member.second == node; });
  if (above->kind == Node::Kind::list)
    above->items.erase(above->items.begin() + (node - above->items.data()));
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
  Word word{.where = "command line: " + text};
  if (text.starts_with('+') || text.starts_with('~')) word.sign = text[0];
  const std::string rest = text.substr(word.sign == ' ' ? 0 : 1);
  const std::size_t equals = rest.find('=');
  word.keys = rest.substr(0, equals);
  if (word.sign == '~') {
    if (equals != rest.npos)
      user_error("{}: '~' takes a key away, whatever its value: write ~{}", word.where, word.keys);
    return take_away(root, word);
  }
  if (equals == rest.npos || equals == 0)
    user_error("{}: expected {}key=value, such as {}", word.where, word.adds() ? "+" : "",
               word.adds() ? "+data.1.dataset=NAME" : "optimizer.lr=1e-4");
  word.value = rest.substr(equals + 1);
  Node* node = &root;
  for (const std::string& part : parts_of(word)) node = &child(*node, part, word);
  if (word.adds() && node->kind != Node::Kind::null)
    user_error("{}: {} is there already ({}); to change it, write {}", word.where, word.keys, node->where,
               rest);
  merge(*node, value_of(word.keys, word.value, word.where));
}

}  // namespace microdit::core::detail
