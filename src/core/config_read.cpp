// Tree to struct: types, ranges, choices, unknown and missing keys, all collected.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/config_node.h"
#include "core/config_state.h"
#include "core/error.h"

namespace microdit::core {
namespace {

using Node = ConfigTree::Node;
using Kind = Node::Kind;

class Reader : public Fields::State {
 public:
  Reader(const Node& root, const std::vector<std::string>& ignore) {
    levels_.push_back({&root, "", root.where, true, ignore, ignore.size()});
  }

  void finish() {
    end_section();
    for (const Unknown& one : unknown_)  // only now all keys are known
      errors_[one.error] += detail::suggestion(one.key, one.own, paths_);
    detail::throw_errors(errors_);
  }

  void visit(std::string_view key, Value value, const FieldRule& rule) override {
    const Node* node = take(key);
    if (node == nullptr) {
      if (rule.required && levels_.back().own) {
        add_error(levels_.back().where, key,
                  rule.help.empty() ? "required, but not given"
                                    : fmt::format("required, but not given ({})", rule.help));
      }
      return;
    }
    std::visit([&](auto* target) { read(*node, key, *target, rule); }, value);
  }

  bool begin_section(std::string_view key, const FieldRule&) override {
    const Node* node = take(key);
    if (node != nullptr && node->kind != Kind::map) {
      add_error(
          node->where, key,
          fmt::format("expected a section (indented keys), found {}; set what it holds, as {}.KEY=value",
                      detail::describe(*node), path(key)));
      return false;
    }
    levels_.push_back(
        {node, path(key), node != nullptr ? node->where : levels_.back().where, levels_.back().own, {}, 0});
    return true;
  }

  void end_section() override {
    const Level& level = levels_.back();
    if (level.node != nullptr) {
      for (const auto& [key, node] : level.node->members) {
        if (std::find(level.known.begin(), level.known.end(), key) != level.known.end()) continue;
        const std::vector<std::string> own(
            level.known.begin() + static_cast<std::ptrdiff_t>(level.num_ignored), level.known.end());
        unknown_.push_back({errors_.size(), key, own});
        add_error(node.where, key, "unknown key");
      }
    }
    levels_.pop_back();
  }

  std::int64_t begin_list(std::string_view key, std::int64_t) override {
    const Node* node = take(key);
    if (node != nullptr && node->kind != Kind::list) {
      const bool numbered = node->find("0") != nullptr;
      add_error(node->where, key,
                fmt::format("expected a list, found {}{}", detail::describe(*node),
                            numbered ? fmt::format("; +{}.0 begins one", path(key)) : ""));
      node = nullptr;
    }
    lists_.push_back({node, path(key)});
    return node != nullptr ? static_cast<std::int64_t>(node->items.size()) : -1;
  }

  void begin_item(std::size_t index) override {
    const List& list = lists_.back();
    const Node* node = list.node != nullptr ? &list.node->items.at(index) : nullptr;
    const std::string name = fmt::format("{}.{}", list.path, index);
    const std::string where = node != nullptr ? node->where : levels_.back().where;
    if (node != nullptr && node->kind != Kind::map) {
      errors_.push_back(fmt::format("{}: {}: expected a section (indented keys), found {}", where, name,
                                    detail::describe(*node)));
      node = nullptr;
    }
    levels_.push_back(
        {node, name, where, node != nullptr, {}, 0});  // an item of the default list is complete
  }

  void end_list() override { lists_.pop_back(); }

  void error(std::string_view key, std::string_view message) override {
    if (std::find(failed_.begin(), failed_.end(), path(key)) != failed_.end()) return;  // a consequence
    const Level& level = levels_.back();
    const Node* node = level.node != nullptr ? level.node->find(key) : nullptr;
    add_error(node != nullptr ? node->where : level.where, key, message);
  }

  bool given(std::string_view key) const override {
    const std::size_t null = key.ends_with("=null") ? 5 : 0;
    key.remove_suffix(null);
    const Node *section = levels_.back().node, *node = section != nullptr ? section->find(key) : nullptr;
    return node != nullptr && (node->kind == Kind::null) == (null > 0);
  }

  bool reading() const override { return true; }

 private:
  struct Level {
    const Node* node;  ///< nullptr: the section is not in the file
    std::string path;
    std::string where;
    bool own;  ///< required keys are asked for
    std::vector<std::string> known;
    std::size_t num_ignored;
  };
  struct List {
    const Node* node;
    std::string path;
  };
  struct Unknown {
    std::size_t error;  ///< its place
    std::string key;
    std::vector<std::string> own;  ///< known in its section
  };

  std::string path(std::string_view key) const {
    const std::string& above = levels_.back().path;
    return above.empty() ? std::string(key) : fmt::format("{}.{}", above, key);
  }

  void add_error(const std::string& where, std::string_view key, std::string_view message) {
    failed_.push_back(path(key));
    errors_.push_back(fmt::format("{}: {}: {}", where, failed_.back(), message));
  }

  /// Marks the key as known; nullptr when it is absent or null.
  const Node* take(std::string_view key) {
    Level& level = levels_.back();
    level.known.emplace_back(key);
    paths_.push_back(path(key));
    const Node* node = level.node != nullptr ? level.node->find(key) : nullptr;
    return node != nullptr && node->kind != Kind::null ? node : nullptr;
  }

  bool expect(bool holds, const Node& node, std::string_view key, std::string_view what) {
    if (!holds)
      add_error(node.where, key, fmt::format("expected {}, found {}", what, detail::describe(node)));
    return holds;
  }

  bool in_range(double value, const Node& node, std::string_view key, const FieldRule& rule) {
    const bool above = rule.exclusive_min ? value > rule.min : value >= rule.min;
    if (above && value <= rule.max) return true;
    std::string allowed;
    if (std::isfinite(rule.min))
      allowed = fmt::format("{} {}", rule.exclusive_min ? "greater than" : "at least", rule.min);
    if (std::isfinite(rule.max))
      allowed += fmt::format("{}at most {}", allowed.empty() ? "" : " and ", rule.max);
    if (allowed.empty()) allowed = "finite";
    add_error(node.where, key, fmt::format("{} is out of range, it must be {}", node.text, allowed));
    return false;
  }

  void read(const Node& node, std::string_view key, bool& target, const FieldRule&) {
    const auto value = detail::boolean_of(node);
    if (expect(value.has_value(), node, key, "true or false")) target = *value;
  }

  void read(const Node& node, std::string_view key, std::int64_t& target, const FieldRule& rule) {
    const auto value = detail::integer_of(node);
    if (expect(value.has_value(), node, key, "a whole number") &&
        in_range(static_cast<double>(*value), node, key, rule))
      target = *value;
  }

  void read(const Node& node, std::string_view key, std::uint64_t& target, const FieldRule& rule) {
    const auto text =
        node.kind == Kind::scalar && !node.quoted ? detail::without_separators(node.text) : std::nullopt;
    std::uint64_t exact = 0;
    if (text) {  // beyond 2^63 too
      const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), exact);
      if (error == std::errc() && end == text->data() + text->size()) {
        if (in_range(static_cast<double>(exact), node, key, rule)) target = exact;
        return;
      }
    }
    const auto value = detail::integer_of(node);
    if (!expect(value.has_value(), node, key, "a whole number from 0 to 18446744073709551615")) return;
    const FieldRule from_zero{.min = std::max(rule.min, 0.0), .max = rule.max};
    if (in_range(static_cast<double>(*value), node, key, from_zero))
      target = static_cast<std::uint64_t>(*value);
  }

  void read(const Node& node, std::string_view key, double& target, const FieldRule& rule) {
    const auto value = detail::number_of(node);
    if (expect(value.has_value(), node, key, "a number") && in_range(*value, node, key, rule))
      target = *value;
  }

  void read(const Node& node, std::string_view key, std::string& target, const FieldRule& rule) {
    if (!expect(node.kind == Kind::scalar, node, key, "text")) return;
    const auto& choices = rule.choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), node.text) == choices.end()) {
      add_error(node.where, key, detail::not_one_of(node.text, choices));
      return;
    }
    if (rule.required && node.text.empty()) {
      add_error(node.where, key, "must not be empty");
      return;
    }
    if (static_cast<double>(node.text.size()) > rule.max) {
      add_error(node.where, key,
                fmt::format("is {} bytes long, at most {} are allowed", node.text.size(), rule.max));
      return;
    }
    target = node.text;
  }

  template <class T>
  void read(const Node& node, std::string_view key, std::vector<T>& target, const FieldRule& rule) {
    const bool one = std::is_same_v<T, std::string> && node.kind == Kind::scalar && !node.text.empty();
    if (!expect(one || node.kind == Kind::list, node, key, "a list (such as [a, b])")) return;
    std::vector<T> values(one ? 1 : node.items.size());  // one text is a list of one
    for (std::size_t i = 0; i < values.size(); ++i)
      read(one ? node : node.items[i], fmt::format("{}.{}", key, i), values[i], rule);
    target = std::move(values);
  }

  void read(const Node& node, std::string_view key, std::map<std::string, std::string>& target,
            const FieldRule& rule) {
    if (!expect(node.kind == Kind::map, node, key, "a section (indented keys)")) return;
    std::map<std::string, std::string> values;
    for (const auto& [name, member] : node.members)
      if (member.kind != Kind::null) read(member, fmt::format("{}.{}", key, name), values[name], rule);
    target = std::move(values);
  }

  void read(const Node& node, std::string_view key, Shares& target, const FieldRule& rule) {
    Shares found;
    if (node.kind == Kind::list) {
      read(node, key, found.names, rule);
    } else if (expect(node.kind == Kind::map, node, key, "a list of names, or names with shares")) {
      for (const auto& [name, member] : node.members) {
        found.names.push_back(name);
        read(member, fmt::format("{}.{}", key, name), found.shares.emplace_back(),
             FieldRule{.min = 0, .max = 1e9, .exclusive_min = true});
      }
    }
    target = std::move(found);
  }

  std::vector<Level> levels_;
  std::vector<List> lists_;
  std::vector<std::string> errors_;
  std::vector<std::string> failed_;
  std::vector<Unknown> unknown_;
  std::vector<std::string> paths_;  ///< of all known keys
};

}  // namespace

void detail::read_fields(const ConfigTree& tree, void* object, FieldsFunction visit,
                         const std::vector<std::string>& ignore) {
  Reader reader(tree.root(), ignore);
  Fields fields(reader);
  visit(object, fields);
  reader.finish();
}

}  // namespace microdit::core
