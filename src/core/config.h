// Configuration: YAML with `extends:`, strict keys, types and ranges, command-line overrides; all errors at
// once.
//
// A config struct lists its fields once:
//   struct OptimizerConfig {
//     double lr = 1e-4;
//     std::vector<double> betas = {0.9, 0.999};
//     void fields(core::Fields& f) {
//       f.field("lr", lr, {.min = 0, .max = 1, .help = "peak learning rate"});
//       f.field("betas", betas, {.min = 0, .max = 1, .help = "AdamW's"});
//     }
//   };
// load<T> fills it from a file and overrides; to_yaml prints it back resolved.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/json.h"

namespace microdit::core {

/// Whether a run may be resumed with another value of a setting.
enum class AtResume {
  fixed,     ///< no: results would differ
  rounding,  ///< yes, with a word: only the rounding differs
  free       ///< yes: results do not depend on it
};

/// A list of names, or names with their shares ({a: 0.2, b: 0.8}).
struct Shares {
  std::vector<std::string> names;
  std::vector<double> shares;  ///< one per name, or none
};
void to_json(Json& json, const Shares& shares);

/// What is allowed for a field's value, beyond its type. Ranges are inclusive; `exclusive_min` makes min
/// exclusive; of a text `max` limits the bytes. A required text must not be empty.
struct FieldRule {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool exclusive_min = false;
  bool required = false;               ///< absent is an error
  std::vector<std::string> choices{};  ///< for strings: the only legal values
  std::string help{};                  ///< one line for --help; units included
  AtResume at_resume = AtResume::fixed;
};

/// A merged, not yet typed configuration: the YAML file, what it `extends:` (paths relative to it; a name or
/// a list, later wins; mappings merge, lists are replaced) and the overrides ("a.b=value", YAML values).
/// `${NAME}` in strings is replaced by the environment variable NAME (MICRODIT_DATA has a default), else an
/// error.
class ConfigTree {
 public:
  /// UserError: missing file, YAML error with line, cyclic extends, duplicate key, alias, malformed override.
  static ConfigTree load(const std::filesystem::path& path, const std::vector<std::string>& overrides = {});
  static ConfigTree parse(std::string_view yaml, std::string_view origin = "<text>");
  /// A configuration that has no file: "a.b=value" words alone.
  static ConfigTree of_overrides(const std::vector<std::string>& overrides);
  /// A JSON object as it stands: no `extends`, no ${NAME}. `origin` is named in errors.
  static ConfigTree of_json(const Json& json, const std::string& origin);
  ~ConfigTree();
  ConfigTree(ConfigTree&&) noexcept;
  ConfigTree& operator=(ConfigTree&&) noexcept;

  struct Node;
  const Node& root() const { return *root_; }

 private:
  ConfigTree();
  std::unique_ptr<Node> root_;
};

/// Visits a struct's fields: reading from a tree, or printing.
class Fields {
 public:
  using Value = std::variant<bool*, std::int64_t*, std::uint64_t*, double*, std::string*,
                             std::vector<std::int64_t>*, std::vector<double>*, std::vector<std::string>*,
                             std::map<std::string, std::string>*, Shares*>;
  /// A value of one of those types.
  template <class T>
  void field(std::string_view key, T& value, const FieldRule& rule = {}) {
    visit(key, Value(&value), rule);
  }

  /// A nested struct with its own fields(Fields&). `rule`: only `at_resume` counts, for all that it holds.
  template <class T>
  void section(std::string_view key, T& value, const FieldRule& rule = {}) {
    if (begin_section(key, rule)) {
      value.fields(*this);
      end_section();
    }
  }
  /// A list of nested structs.
  template <class T>
  void sections(std::string_view key, std::vector<T>& values) {
    const std::int64_t found = begin_list(key, static_cast<std::int64_t>(values.size()));
    if (found >= 0) values.assign(static_cast<std::size_t>(found), T{});
    for (std::size_t i = 0; i < values.size(); ++i) {
      begin_item(i);
      values[i].fields(*this);
      end_section();
    }
    end_list();
  }
  /// Call at the end of fields() to add an error of your own that concerns `key` of this section.
  void error(std::string_view key, std::string_view message);
  /// True when the file or an override named `key` in this section (always false while printing). "key=null": whether they say
  /// just that, for keys where another program's null means something.
  bool given(std::string_view key) const;
  bool reading() const;

  struct State;
  explicit Fields(State& state) : state_(&state) {}

 private:
  void visit(std::string_view key, Value value, const FieldRule& rule);
  bool begin_section(std::string_view key, const FieldRule& rule);
  void end_section();
  std::int64_t begin_list(std::string_view key, std::int64_t current_size);
  void begin_item(std::size_t index);
  void end_list();
  State* state_;
};

namespace detail {
// Type-erased drivers, so that templates stay thin.
using FieldsFunction = void (*)(void* object, Fields& fields);
void read_fields(const ConfigTree& tree, void* object, FieldsFunction visit,
                 const std::vector<std::string>& ignore);
std::string print_yaml(void* object, FieldsFunction visit);
Json print_json(void* object, FieldsFunction visit);
std::string print_help(void* object, FieldsFunction visit);
std::map<std::string, AtResume> list_resumable(void* object, FieldsFunction visit);
template <class T>
FieldsFunction visitor() {
  return [](void* object, Fields& fields) { static_cast<T*>(object)->fields(fields); };
}
}  // namespace detail

/// Fills a T. Unknown keys (with the nearest known key), wrong types, values out of range and missing keys
/// are collected and thrown as one UserError, each with file:line. `ignore`: top-level keys that belong to
/// somebody else.
template <class T>
T load(const ConfigTree& tree, const std::vector<std::string>& ignore = {}) {
  T value;
  detail::read_fields(tree, &value, detail::visitor<T>(), ignore);
  return value;
}
template <class T>
T load(const std::filesystem::path& path, const std::vector<std::string>& overrides = {}) {
  return load<T>(ConfigTree::load(path, overrides));
}

/// The resolved config as YAML that load<T> reads back to the same values.
template <class T>
std::string to_yaml(const T& value) {
  T copy = value;
  return detail::print_yaml(&copy, detail::visitor<T>());
}
/// The same as JSON (for manifests, checkpoints and comparing settings).
template <class T>
Json to_json(const T& value) {
  T copy = value;
  return detail::print_json(&copy, detail::visitor<T>());
}
/// One line per key: name, type, default, help.
template <class T>
std::string describe_fields() {
  T value;
  return detail::print_help(&value, detail::visitor<T>());
}

/// The dotted keys whose rule is not AtResume::fixed; a section's key stands for all below it.
template <class T>
std::map<std::string, AtResume> resumable_keys() {
  T value;
  return detail::list_resumable(&value, detail::visitor<T>());
}

/// MICRODIT_DATA, or "data" under the current folder; absolute.
std::filesystem::path data_root();

}  // namespace microdit::core
