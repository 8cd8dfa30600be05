// ${NAME}: a variable of the environment; ${key}: what the same configuration says for that key; ${.key}: beside the value itself.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <functional>

#include "core/config_node.h"
#include "core/error.h"
#include "core/nearest.h"

namespace microdit::core {
namespace {

using Node = ConfigTree::Node;

// A stranger's file may make much of little, and lead through itself.
constexpr std::size_t kMostBytes = 16u << 20;
constexpr std::size_t kMostHops = 64;
constexpr std::size_t kMostErrors = 100;
constexpr std::size_t kMostSuggested = 2000;

bool is_large(char c) {
  return (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_small(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string upper(std::string text) {
  for (char& c : text)
    if (is_small(c)) c = static_cast<char>(c - 'a' + 'A');
  return text;
}

/// Named by MICRODIT_ENV_ALLOW.
bool is_allowed(std::string_view name) {
  const char* more = std::getenv("MICRODIT_ENV_ALLOW");
  std::string_view rest = more != nullptr ? more : "";
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find_first_of(" ,:"), rest.size());
    if (rest.substr(0, end) == name) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

/// Variables begin with a capital (or are allowed by name), keys with a small letter.
bool names_variable(std::string_view name) {
  const auto fits = [](char c) { return is_large(c) || is_small(c) || is_digit(c); };
  return !name.empty() && std::ranges::all_of(name, fits) &&
         (is_large(name[0]) || (!is_digit(name[0]) && is_allowed(name)));
}
bool names_key(std::string_view name) {
  const auto fits = [](char c) { return is_large(c) || is_small(c) || is_digit(c) || c == '.' || c == '-'; };
  return !name.empty() && is_small(name[0]) && name.size() <= 200 && name.back() != '.' &&
         name.find("..") == name.npos && std::ranges::all_of(name, fits);
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
  if (is_allowed(name)) return "";
  return fmt::format(
      "the environment variable {0} is not one that configurations may use (MICRODIT_*, SLURM_*, HOME, USER, "
      "SCRATCH, WORK): allow it with export MICRODIT_ENV_ALLOW={0}",
      name);
}

std::optional<std::string> value_of_variable(const std::string& name, const std::string& where,
                                             std::vector<std::string>& errors) {
  std::string why = why_withheld(name);
  if (why.empty() && name == "MICRODIT_DATA")
    return data_root().string();  // absolute however it was given: a path in facts must not depend on that
  const char* value = std::getenv(name.c_str());
  if (why.empty() && value != nullptr) return value;
  if (why.empty()) why = fmt::format("the environment variable {} is not set", name);
  errors.push_back(fmt::format("{}: {}", where, why));
  return std::nullopt;
}

/// The text with what `value_of` says for each ${NAME} that stands from `begin` to before `end`; what `value_of` does not say is
/// an error that it recorded.
using ValueOf =
    std::function<std::optional<std::string>(const std::string& name, std::size_t begin, std::size_t end)>;
std::optional<std::string> replaced(const std::string& text, const ValueOf& value_of) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    if (text.compare(i, 3, "$${") == 0) {
      result += "${";
      i += 3;
    } else if (text.compare(i, 2, "${") == 0) {
      const std::size_t close = std::min(text.find('}', i), text.size());
      const auto value = value_of(text.substr(i + 2, close - i - 2), i, close + 1);
      if (!value) return std::nullopt;
      result += *value;
      i = close + 1;
    } else {
      result += text[i++];
    }
  }
  return result;
}

void collect_paths(const Node& node, const std::string& path, std::vector<std::string>& paths) {
  if (paths.size() >= kMostSuggested) return;
  if (!path.empty()) paths.push_back(path);
  const std::string start = path.empty() ? "" : path + ".";
  for (const auto& [key, member] : node.members) collect_paths(member, start + key, paths);
  for (std::size_t i = 0; i < node.items.size(); ++i)
    collect_paths(node.items[i], fmt::format("{}{}", start, i), paths);
}

/// `text`, the value of the key `path`, with ${.key} (a key beside it; each further dot: one section further out) as keys from the
/// configuration's root. More dots than there are sections are left, for the error.
std::string with_absolute_keys(const std::string& text, const std::vector<std::string>& path) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t name = text.compare(i, 3, "${.") == 0 ? text.find_first_not_of('.', i + 2) : text.npos;
    const std::size_t dots = name == text.npos ? 0 : name - i - 2;
    if (dots > 0 && dots <= path.size()) {
      result += "${";
      for (std::size_t k = 0; k + dots < path.size(); ++k) result += path[k] + ".";
      i = name;
    } else {
      const std::size_t end = std::min(i + (text.compare(i, 3, "$${") == 0 ? 3 : 1), text.size());
      result.append(text, i, end - i);
      i = end;
    }
  }
  return result;
}

void make_absolute(Node& node, std::vector<std::string>& path) {
  if (node.text.find("${.") != std::string::npos) node.text = with_absolute_keys(node.text, path);
  for (auto& [key, member] : node.members) {
    path.push_back(key);
    make_absolute(member, path);
    path.pop_back();
  }
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    path.push_back(std::to_string(i));
    make_absolute(node.items[i], path);
    path.pop_back();
  }
}

std::size_t bytes_of(const Node& node) {
  std::size_t bytes = sizeof(Node) + node.text.size() + node.where.size();
  for (const auto& [key, member] : node.members) bytes += key.size() + bytes_of(member);
  for (const Node& item : node.items) bytes += bytes_of(item);
  return bytes;
}

class Replacer {
 public:
  explicit Replacer(Node& root) : root_(root) {}

  void run() {
    std::vector<std::string> path;
    make_absolute(root_, path);
    replace(root_);
    detail::throw_errors(errors_);
  }

 private:
  using References = Node::References;

  void replace(Node& node) {
    if (node.references != References::open || errors_.size() >= kMostErrors) return;
    node.references = References::busy;
    if (node.kind == Node::Kind::scalar) replace_text(node);
    for (auto& [key, member] : node.members) replace(member);  // of a copied section: replaced already
    for (Node& item : node.items) replace(item);
    node.references = References::replaced;
  }

  void replace_text(Node& node) {
    const std::string text = node.text;
    const Node* whole = nullptr;
    const auto result = replaced(
        text, [&](const std::string& name, std::size_t begin, std::size_t end) -> std::optional<std::string> {
          if (names_variable(name)) return value_of_variable(name, node.where, errors_);
          if (!names_key(name)) {
            errors_.push_back(fmt::format(
                "{}: '{}': ${{NAME}} with an environment variable's name (capitals), or ${{key}} "
                "with a key of this "
                "configuration (${{.key}}: beside this one), is meant (write $${{ for a literal ${{)",
                node.where, text));
            return std::nullopt;
          }
          const Node* found = find(name, node.where);
          if (found == nullptr) return std::nullopt;
          if (begin == 0 && end == text.size()) whole = found;
          if (whole != nullptr || found->kind == Node::Kind::scalar) return found->text;
          errors_.push_back(fmt::format("{}: '{}': {} is {} ({}), which does not go into a text", node.where,
                                        text, name, detail::describe(*found), found->where));
          return std::nullopt;
        });
    if (!result || !fits(node, whole != nullptr ? bytes_of(*whole) : result->size())) return;
    if (whole == nullptr) {
      node.text = *result;
      return;
    }
    Node copy = *whole;
    copy.where = node.where;
    node = std::move(copy);
  }

  bool fits(const Node& node, std::size_t bytes) {
    made_ += bytes;
    if (made_ <= kMostBytes) return true;
    if (made_ - bytes <= kMostBytes)
      errors_.push_back(fmt::format("{}: '{}': references make more than {} bytes of this configuration",
                                    node.where, node.text, kMostBytes));
    return false;
  }

  /// The node of that key, its own references replaced. nullptr: an error was recorded.
  const Node* find(const std::string& key, const std::string& where) {
    hops_.push_back(fmt::format("{}: ${{{}}}", where, key));
    Node* node = hops_.size() > kMostHops ? nullptr : &root_;
    if (node == nullptr)
      errors_.push_back(
          fmt::format("{}: more than {} references one behind the other", hops_.back(), kMostHops));
    for (std::size_t begin = 0; node != nullptr && begin <= key.size();) {
      const std::size_t dot = std::min(key.find('.', begin), key.size());
      if (node->kind == Node::Kind::scalar) replace(*node);  // it may stand for a section
      node = child(*node, key.substr(begin, dot - begin));
      if (node == nullptr) no_such(key);
      begin = dot + 1;
    }
    if (node != nullptr && node->references == References::open) replace(*node);
    if (node != nullptr && node->references == References::busy) {
      errors_.push_back(fmt::format("{}: leads back to itself: {}", hops_.back(), fmt::join(hops_, ", ")));
      node = nullptr;
    }
    hops_.pop_back();
    return node;
  }

  static Node* child(Node& node, const std::string& part) {
    if (node.kind == Node::Kind::map) return node.find(part);
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index = error == std::errc() && end == part.data() + part.size();
    return is_index && index < node.items.size() ? &node.items[index] : nullptr;
  }

  void no_such(const std::string& key) {
    if (paths_.empty()) collect_paths(root_, "", paths_);
    const auto near = nearest(key, paths_);
    errors_.push_back(fmt::format(
        "{}: the configuration does not give '{}'{}", hops_.back(), key,
        near ? fmt::format("; did you mean ${{{}}}?", *near)
             : std::string(" (a program's default cannot be referred to: give the key a value)")));
  }

  Node& root_;
  std::vector<std::string> errors_;
  std::vector<std::string> hops_;  ///< references that are being followed
  std::vector<std::string> paths_;
  std::size_t made_ = 0;
};

}  // namespace

std::string detail::with_variables(const std::string& text, const std::string& where,
                                   std::vector<std::string>& errors) {
  return replaced(text,
                  [&](const std::string& name, std::size_t, std::size_t) -> std::optional<std::string> {
                    if (names_variable(name)) return value_of_variable(name, where, errors);
                    errors.push_back(fmt::format(
                        "{}: '{}': ${{NAME}} with an environment variable's name is meant (write $${{ "
                        "for a literal ${{)",
                        where, text));
                    return std::nullopt;
                  })
      .value_or(text);
}

void detail::replace_references(Node& root) {
  Replacer(root).run();
}

}  // namespace microdit::core
