// Groups: section=NAME on the command line picks a file of settings, as an `extends:` would.
#include <algorithm>

#include "core/atomic_file.h"
#include "core/config_node.h"
#include "core/error.h"
#include "core/nearest.h"
#include "core/shipped.h"

namespace microdit::core {
namespace {

namespace fs = std::filesystem;
using Node = ConfigTree::Node;

bool is_name(std::string_view text) {
  const auto is_letter = [](unsigned char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; };
  return !text.empty() && text.size() <= 100 && text != "null" && text != "true" && text != "false" &&
         is_letter(static_cast<unsigned char>(text[0])) && std::ranges::all_of(text, [&](unsigned char c) {
           return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
         });
}

/// Does the file say something about that section?
bool speaks_of(const fs::path& file, const std::string& section) {
  std::error_code error;
  if (!fs::is_regular_file(file, error) || fs::file_size(file, error) > detail::kMostFileBytes) return false;
  return ("\n" + read_text(file)).find("\n" + section + ":") != std::string::npos;
}

struct Choices {
  std::vector<fs::path> folders{};   ///< that have any
  std::vector<std::string> names{};  ///< of their files
};

Choices choices_of(const std::string& section, const fs::path& config) {
  const fs::path folder = config.has_parent_path() ? config.parent_path() : ".";
  Choices found;
  for (const fs::path& root : {folder / "..", folder, fs::path("configs")}) {
    const fs::path group = (root / (section + "s")).lexically_normal();
    std::vector<std::string> names = config_names(group);
    std::erase_if(names,
                  [&](const std::string& name) { return !speaks_of(group / (name + ".yaml"), section); });
    if (names.empty()) continue;
    found.folders.push_back(group);
    for (std::string& name : names)
      if (std::find(found.names.begin(), found.names.end(), name) == found.names.end())
        found.names.push_back(std::move(name));
  }
  return found;
}

/// What files of that folder said about the section goes; whether there was any.
bool forget(Node& section, const fs::path& folder) {
  bool any = false;
  std::erase_if(section.members, [&](auto& member) {
    Node& node = member.second;
    if (node.kind == Node::Kind::map) {
      any = forget(node, folder) || any;
      return node.members.empty();
    }
    std::error_code error;
    const fs::path file = node.where.substr(0, node.where.rfind(':'));
    const bool is_theirs = file.has_parent_path() && fs::equivalent(file.parent_path(), folder, error);
    any = any || is_theirs;
    return is_theirs;
  });
  return any;
}

/// "microdit" of a section with `kind: microdit`.
std::string kind_of(const Node& section) {
  const Node* kind = section.find("kind");
  return kind != nullptr ? kind->text : "";
}

}  // namespace

bool detail::apply_group(Node& root, const std::string& text, const fs::path& config) {
  const std::size_t equals = std::min(text.find('='), text.size());
  const std::string section = text.substr(0, equals);
  const std::string name = equals < text.size() ? text.substr(equals + 1) : "";
  if (!is_name(section) || section.find('.') != section.npos || !is_name(name)) return false;
  const Node* said = root.find(section);
  if (said != nullptr && (said->kind == Node::Kind::scalar || said->kind == Node::Kind::list)) return false;
  const Choices choices = choices_of(section, config);
  if (choices.names.empty()) return false;
  const auto folder = std::ranges::find_if(
      choices.folders, [&](const fs::path& one) { return speaks_of(one / (name + ".yaml"), section); });
  if (folder == choices.folders.end()) {
    const auto near = nearest(name, choices.names);
    user_error("command line: {}: there is no {}{}; there are: {}", text,
               (choices.folders.front() / (name + ".yaml")).string(),
               near ? fmt::format(" (did you mean {}={}?)", section, *near) : "",
               fmt::join(choices.names, ", "));
  }
  Node file = load_file(*folder / (name + ".yaml"));
  const Node* own = file.find(section);
  if (own == nullptr || own->kind != Node::Kind::map)
    user_error("{}: {}: expected a section (indented keys), for {}", file.where, section, text);
  if (Node* present = root.find(section); present != nullptr) {
    const bool other = !kind_of(*own).empty() && kind_of(*own) != kind_of(*present);
    // Keys of another kind mean nothing here; a section that no such file had a part in is a whole of its own.
    if (!forget(*present, *folder) || other) present->members.clear();
  }
  const std::string where = root.where;
  merge(root, std::move(file));
  root.where = where;
  return true;
}

}  // namespace microdit::core
