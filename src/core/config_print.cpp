// Struct to JSON, YAML and a table of keys.
#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "core/config_node.h"
#include "core/config_origins.h"
#include "core/config_state.h"
#include "core/error.h"
#include "core/shown_text.h"

namespace microdit::core {

std::string yaml_string(std::string text) {
  for (std::size_t at = 0; (at = text.find("${", at)) != text.npos; at += 3) text.insert(at, 1, '$');
  const auto safe = [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '/' || c == '.' || c == '-';
  };
  std::string lower;
  for (unsigned char c : text) lower += static_cast<char>(std::tolower(c));
  constexpr std::array<std::string_view, 9> kWords{"null", "true", "false", "yes", "no",
                                                   "on",   "off",  "y",     "n"};
  const bool word = std::find(kWords.begin(), kWords.end(), lower) != kWords.end();
  const bool starts_well = !text.empty() && (std::isalpha(static_cast<unsigned char>(text[0])) ||
                                             text[0] == '/' || text[0] == '_');
  if (starts_well && !word && std::all_of(text.begin(), text.end(), safe)) return text;
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

namespace {

class JsonPrinter : public Fields::State {
 public:
  Json root = Json::object();

  void visit(std::string_view key, Value value, const FieldRule&) override {
    here()[std::string(key)] = std::visit([](const auto* held) { return Json(*held); }, value);
  }
  bool begin_section(std::string_view key, const FieldRule&) override {
    open(key, Json::object());
    return true;
  }
  void end_section() override { path_.pop_back(); }
  std::int64_t begin_list(std::string_view key, std::int64_t) override {
    open(key, Json::array());
    return -1;
  }
  void begin_item(std::size_t index) override {
    here().push_back(Json::object());
    path_.push_back(&here()[index]);
  }
  void end_list() override { path_.pop_back(); }

 private:
  Json& here() { return *path_.back(); }
  void open(std::string_view key, Json container) {
    Json& member = here()[std::string(key)];
    member = std::move(container);
    path_.push_back(&member);
  }
  std::vector<Json*> path_{&root};  // a container grows only while no child is open
};

std::string yaml_scalar(const Json& value) {
  if (value.is_string()) return yaml_string(value.get<std::string>());
  if (value.is_number_float() && std::isinf(value.get<double>()))
    return value.get<double>() < 0 ? "-.inf" : ".inf";
  return value.dump();
}

/// What of the tree a printed value was read from, when that is to be said.
class Origin {
 public:
  Origin() = default;
  Origin(bool shown, const ConfigTree::Node* node) : shown_(shown), node_(node) {}

  Origin member(const std::string& key) const {
    return {shown_, node_ != nullptr ? node_->find(key) : nullptr};
  }
  Origin item(std::size_t i) const {
    return {shown_, node_ != nullptr && i < node_->items.size() ? &node_->items[i] : nullptr};
  }
  std::string comment() const {
    if (!shown_) return "";
    if (node_ == nullptr || node_->where.empty()) return "  # default";
    std::string text = place(*node_);
    if (node_->kind == ConfigTree::Node::Kind::null) text += " (null)";
    for (const ConfigTree::Node& item : node_->items)  // of a list in a file, changed by a word
      if (is_word(item) && !is_word(*node_)) text += ", " + place(item);
    return "  # " + text;
  }

 private:
  static bool is_word(const ConfigTree::Node& node) { return node.where.starts_with("command line"); }
  static std::string place(const ConfigTree::Node& node) {
    std::string where = is_word(node) ? node.where.substr(0, node.where.find('=')) : node.where;
    std::ranges::replace_if(
        where, [](char c) { return c == '\n' || c == '\r'; }, ' ');
    return without_controls(where);
  }

  bool shown_ = false;
  const ConfigTree::Node* node_ = nullptr;
};

void append_yaml(std::string& out, const Json& value, std::size_t indent, const Origin& origin);

/// "key: value" with what belongs below it, the first line not indented.
void append_member(std::string& out, const std::string& key, const Json& value, std::size_t indent,
                   const Origin& origin) {
  out += fmt::format("{}:", yaml_string(key));
  const bool nested = value.is_object() || (value.is_array() && !value.empty() && value.front().is_object());
  if (nested && !value.empty()) {
    out += "\n";
    append_yaml(out, value, indent + 2, origin);
    return;
  }
  out += " ";
  append_yaml(out, value, indent, origin);
  out += origin.comment() + "\n";
}

void append_yaml(std::string& out, const Json& value, std::size_t indent, const Origin& origin) {
  const std::string pad(indent, ' ');
  if (value.is_object() && value.empty()) {
    out += "{}";
  } else if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      out += pad;
      append_member(out, key, member, indent, origin.member(key));
    }
  } else if (value.is_array() && !value.empty() && value.front().is_object()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      out += fmt::format("{}- ", pad);
      if (value[i].empty()) out += "{}\n";
      bool first = true;
      for (const auto& [key, member] : value[i].items()) {
        if (!first) out.append(indent + 2, ' ');
        first = false;
        append_member(out, key, member, indent + 2, origin.item(i).member(key));
      }
    }
  } else if (value.is_array()) {
    std::vector<std::string> items;
    for (const Json& item : value) items.push_back(yaml_scalar(item));
    out += fmt::format("[{}]", fmt::join(items, ", "));
  } else {
    out += yaml_scalar(value);
  }
}

struct TypeName {
  std::string operator()(const bool*) const { return "true|false"; }
  std::string operator()(const std::int64_t*) const { return "integer"; }
  std::string operator()(const std::uint64_t*) const { return "integer"; }
  std::string operator()(const double*) const { return "number"; }
  std::string operator()(const std::string*) const { return "text"; }
  std::string operator()(const std::vector<std::int64_t>*) const { return "integers"; }
  std::string operator()(const std::vector<double>*) const { return "numbers"; }
  std::string operator()(const std::vector<std::string>*) const { return "texts"; }
  std::string operator()(const std::map<std::string, std::string>*) const { return "mapping"; }
  std::string operator()(const Shares*) const { return "texts or shares"; }
};

class HelpPrinter : public Fields::State {
 public:
  bool reading() const override {
    return true;
  }  // keys that are not printed at their default are listed, too
  void visit(std::string_view key, Value value, const FieldRule& rule) override {
    std::string standard;
    append_yaml(standard, std::visit([](const auto* held) { return Json(*held); }, value), 0, {});
    std::string allowed;
    if (!rule.choices.empty()) allowed = fmt::format("{}", fmt::join(rule.choices, "|"));
    if (std::isfinite(rule.min)) allowed = fmt::format("{}{}", rule.exclusive_min ? ">" : ">=", rule.min);
    if (std::isfinite(rule.max)) allowed += fmt::format("{}<={}", allowed.empty() ? "" : " ", rule.max);
    Row row = {path_ + std::string(key), std::visit(TypeName{}, value),
               rule.required ? "(required)" : fmt::format("= {}", standard), allowed, rule.help};
    if (!rows_.empty() && rows_.back()[0] == row[0]) {  // read in two ways: as text, and as this
      row[1] += " or text";
      rows_.pop_back();
    }
    rows_.push_back(std::move(row));
  }
  bool begin_section(std::string_view key, const FieldRule&) override {
    open(fmt::format("{}.", key));
    return true;
  }
  void end_section() override { close(); }
  std::int64_t begin_list(std::string_view key, std::int64_t) override {
    open(fmt::format("{}.", key));
    return 1;  // one item with its defaults stands for all
  }
  void begin_item(std::size_t) override { open("N."); }
  void end_list() override { close(); }

  std::string table() const {
    std::array<std::size_t, 3> widths{};
    constexpr std::size_t kWidest = 44;  // a longer cell pushes its own row only
    for (const Row& row : rows_) {
      for (std::size_t i = 0; i < 3; ++i) widths[i] = std::max(widths[i], std::min(row[i].size(), kWidest));
    }
    std::string text;
    for (const Row& row : rows_) {
      std::string line =
          fmt::format("{:<{}}  {:<{}}  {:<{}}", row[0], widths[0], row[1], widths[1], row[2], widths[2]);
      for (std::size_t i = 3; i < 5; ++i) line += row[i].empty() ? "" : "  " + row[i];
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + "\n";
    }
    return text;
  }

 private:
  using Row = std::array<std::string, 5>;

  void open(const std::string& part) {
    lengths_.push_back(path_.size());
    path_ += part;
  }
  void close() {
    path_.resize(lengths_.back());
    lengths_.pop_back();
  }

  std::string path_;
  std::vector<std::size_t> lengths_;
  std::vector<Row> rows_;
};

/// Collects the keys that may change at a resume.
class ResumableKeys : public Fields::State {
 public:
  std::map<std::string, AtResume> keys;

  bool reading() const override { return true; }  // as for help
  void visit(std::string_view key, Value, const FieldRule& rule) override { add(key, rule); }
  bool begin_section(std::string_view key, const FieldRule& rule) override {
    add(key, rule);
    lengths_.push_back(path_.size());
    path_ += fmt::format("{}.", key);
    return true;
  }
  void end_section() override {
    path_.resize(lengths_.back());
    lengths_.pop_back();
  }
  // Items of a list are compared with the list, never alone.
  std::int64_t begin_list(std::string_view, std::int64_t) override { return 0; }
  void begin_item(std::size_t) override {}
  void end_list() override {}

 private:
  void add(std::string_view key, const FieldRule& rule) {
    if (rule.at_resume != AtResume::fixed) keys.emplace(path_ + std::string(key), rule.at_resume);
  }
  std::string path_;
  std::vector<std::size_t> lengths_;
};

}  // namespace

void to_json(Json& json, const Shares& shares) {
  json = shares.names;
  if (shares.shares.empty()) return;
  json = Json::object();
  for (std::size_t i = 0; i < shares.names.size(); ++i) json[shares.names[i]] = shares.shares[i];
}

namespace detail {

Json print_json(void* object, FieldsFunction visit) {
  JsonPrinter printer;
  Fields fields(printer);
  visit(object, fields);
  return std::move(printer.root);
}

std::string print_yaml(void* object, FieldsFunction visit) {
  std::string text;
  const Json value = print_json(object, visit);
  if (!value.empty()) append_yaml(text, value, 0, {});
  return text;
}

std::string print_origins(void* object, FieldsFunction visit, const ConfigTree& tree) {
  std::string text;
  const Json value = print_json(object, visit);
  if (!value.empty()) append_yaml(text, value, 0, {true, &tree.root()});
  return text;
}

std::string print_help(void* object, FieldsFunction visit) {
  HelpPrinter printer;
  Fields fields(printer);
  visit(object, fields);
  return printer.table();
}

std::map<std::string, AtResume> list_resumable(void* object, FieldsFunction visit) {
  ResumableKeys list;
  Fields fields(list);
  visit(object, fields);
  return list.keys;
}

}  // namespace detail
}  // namespace microdit::core
