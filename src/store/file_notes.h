// What the index says of one file of a latents folder, from the file itself or from the notes in its item's record.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "store/latent_index.h"

namespace microdit::store {

struct FileNotes {
  std::int64_t rows = 0;               ///< samples
  std::vector<IndexedColumn> columns;  ///< by name
  std::vector<ColumnPlace> places;     ///< one per column
  std::vector<std::uint32_t> counts;   ///< images: [size][split][bound]; text: [caption source]
  std::vector<std::uint32_t>
      classed;  ///< of the images' counts, with a class; empty without a column `class`
};

/// An index without shards and columns: what of it the folder's facts decide, and which sides are counted. UserError (names
/// `origin`): facts of no latents folder.
LatentIndex start_index(const core::Json& facts, const std::string& origin);

/// By reading the file's small columns. UserError (names it) when they contradict one another.
FileNotes look_at(const std::filesystem::path& file, LatentFile which, const LatentIndex& settings);

std::string notes_text(const FileNotes& notes, const LatentIndex& settings);
/// Nothing where the text is empty, or was made for other settings.
std::optional<FileNotes> notes_from_text(const std::string& text, LatentFile which,
                                         const LatentIndex& settings);

}  // namespace microdit::store
