// index.N.bin of a latents folder: where every column of every shard lies and how many rows each filter leaves, so that training
// opens one file instead of 40,000 and never calls the HDF5 library. O(shards): at most 512 bytes each.
//
// Little endian; "v" is an unsigned LEB128 number, "s" a v and so many bytes.
//   "MDLATIDX"  u32 version (2 where the images have a column `class`, else 1)  32 bytes SHA-256 of the manifest (as its last line says)  v generation
//   v sizes, v each;  v bounds, v each (ascending, from 0);  v splits;  v caption sources, s each
//   v columns: u8 file (0 images, 1 text), s name, u8 dtype, v axes, v each (axes behind the rows), u8 has hash
//   v shards:  s item;  v rows;  v bytes and u64 head of the SHA-256 of either file
//              per column: v rows, v offset in its file, and u64 xxh3 of all its bytes where it has one
//              per size, split and bound: v rows whose shorter side is at least this bound and below the next, with latents of
//              this size;  version 2: likewise v rows of these that have a class;
//              per caption source: v rows that have a caption of it
//   u64 xxh3 of all bytes before
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/stop_flag.h"
#include "store/manifest.h"

namespace microdit::store {

enum class LatentFile : std::uint8_t { images = 0, text = 1 };

struct IndexedColumn {
  LatentFile file = LatentFile::images;
  std::string name;
  core::DType dtype = core::DType::u8;
  std::vector<std::int64_t> row_shape;  ///< without the rows axis
  bool has_hash = false;                ///< columns with a hash per row beside them have none as a whole
  std::uint64_t row_bytes() const;
};

struct ColumnPlace {
  std::int64_t rows = 0;
  std::uint64_t offset = 0;  ///< of its bytes in its file
  std::uint64_t hash = 0;    ///< xxh3-64 of all its bytes
};

struct IndexedShard {
  std::string item;  ///< its files are <item>.images.h5 and <item>.text.h5
  std::int64_t rows = 0;
  std::uint64_t file_bytes[2] = {0, 0};
  std::uint64_t file_sha[2] = {0, 0};  ///< first 8 bytes (16 hex digits) of each file's SHA-256
  std::vector<ColumnPlace> places;     ///< one per column of the index
  std::vector<std::uint32_t> counts;   ///< [size][split][bound]
  std::vector<std::uint32_t> classed;  ///< likewise, of those with a class; empty where they are not counted
  std::vector<std::uint32_t> captioned;  ///< [caption source]
  std::string file(LatentFile which) const;
};

struct LatentIndex {
  std::string manifest_sha256;  ///< 64 hex digits
  std::int64_t generation = 0;
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> bounds;  ///< of a picture's shorter side, in pixels
  std::int64_t splits = 0;
  std::vector<std::string> caption_sources;
  std::vector<IndexedColumn> columns;
  std::vector<IndexedShard> shards;
  bool counts_classes = false;  ///< version 2

  /// Of before version 2, and the samples have classes: it is written anew where it can be.
  bool lacks_class_counts() const { return !counts_classes && column(LatentFile::images, "class") >= 0; }
  /// Place of a column in `columns`; -1 = there is none.
  int column(LatentFile file, std::string_view name) const;
  /// Rows of a shard with latents of sizes[size] in this split whose shorter side is bounds[bound] or more; `classed`: and that have
  /// a class (not where the index lacks_class_counts()).
  std::int64_t rows_of(const IndexedShard& shard, std::size_t size, std::size_t split, std::size_t bound,
                       bool classed = false) const;
};

inline constexpr const char* kIndexFile = "index.bin";
std::string index_name(std::int64_t generation);  ///< "index.N.bin"

std::string to_bytes(const LatentIndex& index);
/// UserError (names `origin`) when the bytes are no index, are damaged or contradict themselves.
LatentIndex parse_latent_index(std::string_view bytes, const std::string& origin);

/// What the index will say of one file (NAME.images.h5, NAME.text.h5): the notes of its item's record, made once when the file is
/// there, about 1 KiB. `facts`: the folder's. UserError: a file that is no such shard.
std::string index_notes(const std::filesystem::path& file, const core::Json& facts);

/// Writes index.N.bin and its copy index.bin for a manifest that is about to become visible (StageFolder::close,
/// `before_visible`). Only files are opened that neither the newest present index knows nor their records have notes of. False when
/// `stop` was seen: nothing is written then. UserError: a shard that does not fit its folder.
bool write_latent_index(const std::filesystem::path& folder, const Manifest& manifest,
                        const core::StopFlag& stop = core::StopFlag());

/// Writes the index of the newest manifest where it is missing, damaged, another's or older than the counts of classes. False when `stop` was seen before it was
/// there. Nothing to do without a manifest.
bool mend_latent_index(const std::filesystem::path& folder, const core::StopFlag& stop = core::StopFlag());

}  // namespace microdit::store
