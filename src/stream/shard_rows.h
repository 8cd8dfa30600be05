// The small columns of a shard: which of its rows the filters leave, where their latents and captions lie, what each row hashes to.
// Read when the shard is first touched, neighbouring columns in one read, and kept while there is room.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/latent_index.h"
#include "stream/open_files.h"

namespace microdit::stream {

/// Which rows of a folder are its samples.
struct RowFilter {
  std::size_t size = 0;  ///< index into LatentIndex::sizes
  std::size_t split = 0;
  std::size_t bound = 0;  ///< index into LatentIndex::bounds: of the picture's shorter side
  bool classed = false;   ///< only those that have a class
  bool verify = true;     ///< hashes of rows are wanted, too
};

struct ShardRows {
  std::vector<std::uint32_t> rows;             ///< in the shard, of every sample that the filter leaves
  std::vector<std::uint32_t> latents_row;      ///< of each of these
  std::vector<std::int32_t> classes;           ///< likewise; empty where the samples have none
  std::vector<std::uint64_t> latents_hashes;   ///< of every row of the latents; empty = not verified
  std::vector<std::uint32_t> caption_offsets;  ///< [rows of the shard + 1]
  std::vector<std::int32_t> caption_rows;      ///< rows of `text`
  std::vector<std::uint8_t> caption_source;
  std::vector<std::uint64_t>
      text_hashes;  ///< of every row of `text` (of `text_ids` without text); may be empty
  std::vector<std::uint64_t> scale_hashes;  ///< of `text_scale`; may be empty
  std::vector<std::int32_t> text_length;
  /// Whole columns, where their rows are too short to have a hash each; else empty.
  std::vector<std::byte> text_ids, text_scale;
  std::size_t bytes() const;
};

/// Reads them through `files`; what a column says is checked. UserError (file) when it does not match the index.
ShardRows read_shard_rows(const store::LatentIndex& index, const store::IndexedShard& shard,
                          const RowFilter& filter, const OpenFile& images, const OpenFile& text);

/// One column as bytes, checked against its hash in the index where it has one.
std::vector<std::byte> read_column(const store::LatentIndex& index, const store::IndexedShard& shard,
                                   store::LatentFile file, const char* column, const OpenFile& from);

/// Rows of shards by least recent use. Safe to use from several threads.
class ShardRowsCache {
 public:
  explicit ShardRowsCache(std::size_t max_bytes) : max_bytes_(max_bytes) {}
  std::shared_ptr<const ShardRows> find(std::size_t shard);
  void add(std::size_t shard, std::shared_ptr<const ShardRows> rows);

 private:
  const std::size_t max_bytes_;
  std::mutex lock_;
  using Entry = std::pair<std::size_t, std::shared_ptr<const ShardRows>>;
  std::list<Entry> recent_;
  std::unordered_map<std::size_t, std::list<Entry>::iterator> found_;
  std::size_t bytes_ = 0;
};

}  // namespace microdit::stream
