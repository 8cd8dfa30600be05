// YAML text to configuration nodes, by yaml-cpp's events: they carry the line and show aliases and duplicate keys.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <sstream>
#include <unordered_map>

#include "core/config_node.h"
#include "core/error.h"

namespace microdit::core {

const ConfigTree::Node* ConfigTree::Node::find(std::string_view key) const {
  for (const auto& [name, node] : members) {
    if (name == key) return &node;
  }
  return nullptr;
}

ConfigTree::Node* ConfigTree::Node::find(std::string_view key) {
  return const_cast<Node*>(std::as_const(*this).find(key));
}

namespace detail {
namespace {

using Node = ConfigTree::Node;
constexpr std::size_t kMaxDepth = 64;

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view origin, bool whole_origin) : origin_(origin), whole_origin_(whole_origin) {}

  Node take() {
    throw_errors(errors_);
    return std::move(root_);
  }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { add(mark, Node::Kind::null); }

  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    errors_.push_back(
        fmt::format("{}: a value that begins with '&' is a YAML anchor (&{}), not text; quote it, or leave "
                    "the anchor out",
                    where(mark), name));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    errors_.push_back(where(mark) +
                      ": YAML aliases (*name) are not supported; write the value out or use extends:");
    add(mark, Node::Kind::null);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    if (Node* node = add(mark, Node::Kind::scalar, value)) {
      node->quoted = tag != "?";
      check_tag(mark, tag, "tag:yaml.org,2002:str");
    }
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    check_tag(mark, tag, "tag:yaml.org,2002:seq");
    open(mark, Node::Kind::list);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    check_tag(mark, tag, "tag:yaml.org,2002:map");
    open(mark, Node::Kind::map);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  struct Level {
    Node* node;
    bool has_key = false;
    std::string key{};
    std::unordered_map<std::string, std::string> keys{};  // -> where it is
  };

  std::string where(const YAML::Mark& mark) const {
    return whole_origin_ ? origin_ : fmt::format("{}:{}", origin_, mark.line + 1);
  }

  void check_tag(const YAML::Mark& mark, const std::string& tag, std::string_view allowed) {
    if (tag.empty() || tag == "?" || tag == "!" || tag == allowed) return;
    errors_.push_back(fmt::format("{}: the YAML tag {} is not supported", where(mark), tag));
  }

  /// Where the next node goes; nullptr when the event was a mapping's key.
  Node* add(const YAML::Mark& mark, Node::Kind kind, const std::string& text = {}) {
    Node made{.kind = kind, .text = text, .where = where(mark)};
    if (open_.empty()) {
      root_ = std::move(made);
      return &root_;
    }
    Level& level = open_.back();
    if (level.node->kind == Node::Kind::list) {
      level.node->items.push_back(std::move(made));
      return &level.node->items.back();
    }
    if (!level.has_key) {
      if (kind != Node::Kind::scalar) user_error("{}: a key must be a plain word", where(mark));
      level.key = text;
      level.has_key = true;
      const auto [first, fresh] = level.keys.try_emplace(text, where(mark));
      if (!fresh) {
        errors_.push_back(
            fmt::format("{}: the key '{}' is given twice (first at {})", where(mark), text, first->second));
      }
      return nullptr;
    }
    level.has_key = false;
    level.node->members.emplace_back(std::move(level.key), std::move(made));
    return &level.node->members.back().second;
  }

  void open(const YAML::Mark& mark, Node::Kind kind) {
    if (open_.size() == kMaxDepth) user_error("{}: nested deeper than {} levels", where(mark), kMaxDepth);
    Node* node = add(mark, kind);
    open_.push_back({node});
  }

  std::string origin_;
  bool whole_origin_;
  Node root_;
  std::vector<Level> open_;
  std::vector<std::string> errors_;
};

}  // namespace

std::string describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::scalar:
      return fmt::format("'{}'", node.text);
    case Node::Kind::list:
      return "a list";
    case Node::Kind::map:
      return "a section";
  }
  return "";
}

Node node_of(const Json& json, const std::string& origin) {
  Node node{.where = origin};
  if (json.is_object()) {
    node.kind = Node::Kind::map;
    for (const auto& [key, value] : json.items()) node.members.emplace_back(key, node_of(value, origin));
  } else if (json.is_array()) {
    node.kind = Node::Kind::list;
    for (const Json& value : json) node.items.push_back(node_of(value, origin));
  } else if (!json.is_null()) {
    node.kind = Node::Kind::scalar;
    node.quoted = json.is_string();
    node.text = json.is_string() ? json.get<std::string>() : json.dump();
  }
  return node;
}

Node parse_yaml(std::string_view yaml, std::string_view origin, bool whole_origin) {
  const std::string prefix(origin);
  std::istringstream stream{std::string(yaml)};
  TreeBuilder builder(origin, whole_origin);
  try {
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder)) return Node{.where = whole_origin ? prefix : prefix + ":1"};
    TreeBuilder second(origin, whole_origin);
    if (parser.HandleNextDocument(second)) user_error("{}: holds more than one YAML document", prefix);
  } catch (const YAML::Exception& error) {
    if (whole_origin) user_error("{}: not a YAML value ({}); quote it", prefix, error.msg);
    user_error("{}:{}: not valid YAML: {}", prefix, error.mark.line + 1, error.msg);
  }
  return builder.take();
}

}  // namespace detail
}  // namespace microdit::core
