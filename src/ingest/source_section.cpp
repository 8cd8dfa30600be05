// The keys of `source`, their ranges, and what must hold between them.
#include "ingest/source_section.h"

#include <algorithm>

#include "core/error.h"

namespace microdit::ingest {
namespace {

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

void SourceSection::fields(core::Fields& f) {
  f.field("hub", hub,
          {.help = "repository org/name[@revision] of the hub (MICRODIT_HUB, HF_ENDPOINT): of a data set, of "
                   "kind: weights "
                   "a model's"});
  f.field(
      "urls", urls,
      {.help =
           "http(s)://, file:// or hf://datasets/ORG/NAME[@REVISION]/PATH addresses; {0000..0007} expands; "
           "known by address without query, file:// ones by name alone"});
  f.field("also", also,
          {.help = "addresses of files that come with the others, whatever the subset: of `tables`"});
  f.field("list_file", list_file,
          {.help = "tab-separated file name and address per line, known by name alone; a header line may "
                   "come first"});
  f.field("list_page", list_page,
          {.help = "where a new list_file is to be had, named when a server refuses its addresses: signed "
                   "ones expire"});
  f.field("folder", folder,
          {.help = "folder of files that are used where they lie, never copied or removed"});
  f.field("pattern", pattern,
          {.help = "files of hub or folder: names, ranges {0000..0007}, * ? [..] within a folder, **/ for "
                   "any depth; hidden ones where the dot is written out; a|b: the first that is there, a|: "
                   "it may be missing"});
  f.field("small", small,
          {.help = "files of subset small, by path or name under raw/ (default: the first 1 %, and those of "
                   "`tables`)"});
  f.field("sha256", sha256,
          {.help = "file, by path or name under raw/ -> known SHA-256: what pins a file's bytes"});
  f.field("parallel", parallel, {.min = 1, .max = 64, .help = "files at once, per rank"});
  f.field("max_attempts", max_attempts, {.min = 1, .max = 1000, .help = "in a row without a new MiB"});
  f.field("backoff_s", backoff_s,
          {.min = 0, .max = 60, .help = "first wait at most, seconds; doubles up to 60 s"});
  f.field("max_file_bytes", max_file_bytes, {.min = 1, .help = "a larger file is refused (default: 64 GiB)"});
  f.field("allow_hosts", allow_hosts, {.help = "hosts of private networks that may be reached by name"});
  f.field("gated", gated,
          {.help = "needs the hub's token: HF_TOKEN_FILE (mode 0600), HF_TOKEN or HF_HOME/token"});
  if (!f.reading()) return;
  if (int(!hub.empty()) + int(!urls.empty()) + int(!list_file.empty()) + int(!folder.empty()) != 1) {
    f.error("hub", "give exactly one of hub, urls, list_file and folder");
  }
  const bool has_files = !hub.empty() || !folder.empty();
  if (has_files && pattern.empty()) f.error("pattern", "name the files, as in '*.tar'");
  if (!has_files && !pattern.empty()) f.error("pattern", "only a hub or folder source has a pattern");
  for (const auto& [file, digest] : sha256) {
    if (!is_sha256(digest))
      f.error("sha256", fmt::format("{}: '{}' is not 64 lower-case hex digits", file, digest));
  }
}

}  // namespace microdit::ingest
