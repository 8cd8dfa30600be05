// Known before any record is read.
#include "ingest/class_names.h"

#include <set>

#include "core/error.h"
#include "core/utf8.h"
#include "ingest/glob.h"
#include "ingest/limits.h"
#include "ingest/raw_paths.h"
#include "ingest/record_places.h"
#include "ingest/records.h"
#include "ingest/table_files.h"
#include "tables/key_template.h"

namespace microdit::ingest {
namespace {

/// Whether a loose file makes a record of its own class.
bool is_picture(const std::string& path, const CatalogueEntry& entry, const RecordEndings& endings) {
  if (path.substr(path.rfind('/') + 1).starts_with('.')) return false;
  const std::vector<std::string>& members = entry.record.members;
  return (members.empty() || matches_any(members, path)) && name_parts(path, endings.image).has_value();
}

}  // namespace

std::vector<std::string> class_names(const CatalogueEntry& entry, const store::Manifest& raw) {
  if (!entry.record.classes.empty() || !is_template(entry.record.from)) return entry.record.classes;
  const RawPaths paths(entry);
  const std::vector<TableFiles> tables = table_files(entry);
  const RecordEndings endings = record_endings(entry);
  const tables::PathTemplate of_path(entry.record.from, "record.class");
  std::set<std::string> names;
  const auto look_at = [&](const std::string& file) {
    const std::string path = paths.of(file);
    if (is_table_file(tables, file, [&] { return path; })) return;
    if (entry.archive == "none" && !is_picture(path, entry, endings)) return;
    std::string name = of_path.key(path, without_ending(tables::path_parts(path).basename));
    if (!name.empty() && !core::first_invalid_utf8(name)) names.insert(std::move(name));
    if (names.size() > limits::kClasses)
      core::user_error("record.class: '{}' makes more than {} classes of {}, such as {}: is it meant so?",
                       entry.record.from, limits::kClasses, raw.folder.string(), *names.begin());
  };
  for (const auto& [file, reason] : raw.failed) look_at(file);
  for (const store::ShardEntry& file : raw.shards()) look_at(file.file);
  if (names.empty())
    core::user_error(
        "record.class: '{}' makes no class of any picture of {}: their paths in the source are such as {}",
        entry.record.from, raw.folder.string(),
        raw.shards().empty() ? "-" : paths.of(raw.shards().front().file));
  return {names.begin(), names.end()};
}

}  // namespace microdit::ingest
