// The stage's side of reading an archive: one worker, its members one after the other.
#include "ingest/archives.h"

#include <algorithm>

#include "ingest/member_stream.h"
#include "ingest/worker_process.h"

namespace microdit::ingest {
namespace {

std::vector<std::string> arguments(const std::string& name, const ArchiveRules& rules) {
  std::vector<std::string> words = {"archive",
                                    name,
                                    rules.kind,
                                    std::to_string(rules.member_bytes),
                                    std::to_string(rules.expansion),
                                    rules.offsets  ? "1"
                                    : rules.pieces ? "pieces"
                                                   : "0"};
  words.insert(words.end(), rules.wanted.begin(), rules.wanted.end());
  return words;
}

}  // namespace

ArchiveSummary for_each_member(const std::filesystem::path& archive, const ArchiveRules& rules,
                               const std::function<void(Member&&)>& on_member, const core::StopFlag* stop) {
  const OpenFile file(archive);
  WorkerProcess worker(arguments(archive.string(), rules), file.fd());
  return receive_members(worker, archive.string(), {.bytes = rules.member_bytes}, on_member, stop);
}

std::string extension_of(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  const std::size_t dot = name.find('.', slash == std::string_view::npos ? 0 : slash + 1);
  if (dot == std::string_view::npos) return "";
  std::string extension(name.substr(dot + 1));
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return extension;
}

std::optional<NameParts> name_parts(std::string_view name, const std::vector<std::string>& wanted) {
  const std::string whole = extension_of(name);
  std::string_view ending = whole;
  while (!ending.empty() && std::ranges::find(wanted, ending) == wanted.end()) {
    const std::size_t dot = ending.find('.');
    ending = dot == std::string_view::npos ? "" : ending.substr(dot + 1);
  }
  if (ending.empty()) return std::nullopt;
  return NameParts{name.substr(0, name.size() - whole.size() - 1),
                   name.substr(0, name.size() - ending.size() - 1), std::string(ending)};
}

}  // namespace microdit::ingest
