// The keys of the section `record`, and what must hold between them.
#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "core/error.h"
#include "ingest/catalogue.h"
#include "ingest/limits.h"
#include "ingest/record_places.h"
#include "store/manifest_text.h"
#include "tables/key_template.h"
#include "tables/value.h"
#include "text/strip.h"

namespace microdit::ingest {

void RecordSection::fields(core::Fields& f) {
  f.field("kind", kind,
          {.choices = {"sidecar_text", "table", "cifar", "idx", "parquet"},
           .help = "sidecar_text: members with one stem are one record; table: each picture is one, with its "
                   "rows of `tables`; "
                   "cifar, idx: pixels and classes; parquet: pictures in a column"});
  f.field("class", from,
          {.help = "where a picture's class is: a template over its path ({parent}: its folder, {top}: the "
                   "first one, {archive}), table:<column>, json:<key>, or an extension: cls"});
  f.field("classes", classes,
          {.help = "names of classes 0, 1, 2 ... (default: the numbers; with class: {parent} and the like of "
                   "loose files, {archive} of archives, all that there are, sorted)"});
  f.field("picture", picture,
          {.help = "parquet: the column of encoded pictures, or the group that has `bytes`"});
  f.field("label", label,
          {.help = "parquet: the column of classes (default: label, none where captions are columns)"});
  f.field("columns", columns,
          {.help = "parquet: name -> column of numbers, kept beside the samples and known to filters"});
  f.field("members", members,
          {.help = "which files of the archives, or loose files by their paths in the source, count: "
                   "patterns, * within a folder (default: all)"});
  f.field("image", image, {.help = "extensions that are pictures, the preferred first"});
  if (f.reading() && (is_labelled() || !from.empty()) && !f.given("caption")) caption = {{"class", "class"}};
  f.field("caption", caption,
          {.help = "caption source -> txt (a sidecar's text), json:<key>, table:<column>, class; of parquet "
                   "column:<column>, of a list column:<column>/0"});
  if (!f.reading()) return;
  check_class(f);
  if (kind == "parquet") check_columns(f);
  for (const char* key : {"picture", "label", "columns"})
    if (kind != "parquet" && f.given(key)) f.error(key, "is of kind: parquet");
  if (image.empty()) f.error("image", "name at least one extension");
  if (caption.empty()) f.error("caption", "name at least one caption source");
  for (const auto& [source, where] : caption) {
    if (!store::is_plain_name(source))
      f.error("caption", fmt::format("'{}' is no name for a caption source", source));
    check_caption(f, source, where);
  }
}

void RecordSection::check_caption(core::Fields& f, const std::string& source, const std::string& where) {
  const bool json = where.starts_with("json:") && where.size() > 5;
  const bool table = where.starts_with("table:") && where.size() > 6;
  if (kind == "parquet" && where.starts_with("column:") && where.size() > 7) return;
  if (where == "class" && (is_labelled() || !from.empty())) return;
  if (is_labelled() || where == "class")
    return f.error("caption",
                   fmt::format("{}: '{}': `class` is of kind: cifar, idx and parquet and of what has "
                               "record.class; column:<column> of parquet; those kinds have nothing else",
                               source, where));
  if (kind == "table" && !table)
    f.error("caption", fmt::format("{}: '{}': kind: table takes table:<column>", source, where));
  else if (!table && !json && (where.empty() || where.find(':') != std::string::npos))
    f.error("caption",
            fmt::format("{}: '{}' is neither an extension such as txt nor json:<key> nor table:<column>",
                        source, where));
}

void RecordSection::check_class(core::Fields& f) {
  const bool of_text = kind == "parquet" || (!from.empty() && !is_template(from));  // a name or a number
  std::set<std::string> names;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const std::string name = tables::composed(text::strip(classes[i]));
    if (name.empty()) f.error("classes", fmt::format("the name of class {} is empty", i));
    if (!name.empty() && !names.insert(name).second)
      f.error("classes", fmt::format("'{}' comes twice", name));
    const std::optional<double> number = of_text ? tables::as_number(tables::Value(name)) : std::nullopt;
    if (number && std::isfinite(*number) && *number == std::floor(*number) &&
        *number != static_cast<double>(i))
      f.error("classes",
              fmt::format("'{}' is the name of class {}, and a text '{}' could mean either: a name "
                          "that is a number must be that of its class",
                          name, i, name));
  }
  if (classes.size() > limits::kClasses) f.error("classes", fmt::format("more than {}", limits::kClasses));
  if (from.empty()) return;
  if (is_labelled()) return f.error("class", fmt::format("kind: {} has classes of its own", kind));
  if (!is_template(from)) {
    const std::size_t colon = from.find(':');
    const bool good = is_table(from) ? from.size() > 6 : is_json(from) ? from.size() > 5 : colon == from.npos;
    if (!good || (kind == "table" && !is_table(from)))
      f.error("class", fmt::format("'{}' is neither a template such as {{parent}} nor {}", from,
                                   kind == "table" ? "table:<column>"
                                                   : "json:<key>, table:<column> or an extension (cls)"));
    const auto is_it = [&](const std::string& other) {
      return normal_extension(other) == normal_extension(from);
    };
    if (colon == from.npos && (std::ranges::any_of(image, is_it) || is_it("json")))
      f.error("class", fmt::format("'{}': such files are {}", from,
                                   is_it("json") ? "no class's name or number; json:<key> names one in them"
                                                 : "the pictures; name the extension of files that hold a "
                                                   "class's name or number (cls)"));
    return;
  }
  try {
    const tables::PathTemplate of_path(from, "record.class");
  } catch (const core::UserError& wrong) {
    f.error("class", wrong.what());
  }
}

/// Classes are asked for where something is made of them, or by name.
void RecordSection::check_columns(core::Fields& f) {
  const bool classes_are_captions =
      std::ranges::any_of(caption, [](const auto& one) { return one.second == "class"; });
  if (!classes_are_captions && !f.given("label")) label.clear();
  if (classes_are_captions && label.empty()) f.error("label", "a caption is `class`: name its column");
  if (picture.empty()) f.error("picture", "name the column of pictures");
  for (const auto& [name, from] : columns)
    if (!store::is_plain_name(name) || name == "class" || from.empty())
      f.error("columns", fmt::format("'{}: {}' is no name (`class` is the label's) and column", name, from));
}

}  // namespace microdit::ingest
