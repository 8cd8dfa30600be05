// One latents folder as a source: opened from its manifest and index alone, rows found through the small columns of their shards.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "store/latent_index.h"
#include "stream/caption_choice.h"
#include "stream/row_reader.h"
#include "stream/row_source.h"
#include "stream/shard_rows.h"

namespace microdit::stream {

/// Does `work` once for all ranks and gives each the text that it returned, or its error (comm: on_root).
using Once = std::function<std::string(const std::function<std::string()>& work)>;

struct FolderOptions {
  std::filesystem::path folder;
  std::int64_t generation = 0;  ///< 0 = the newest
  std::int64_t size = 0;        ///< picture side in pixels
  std::size_t split = 0;        ///< 0 train, 1 held out
  std::int64_t min_side = 0;    ///< of the pictures, shorter side in pixels
  CaptionRule captions;
  bool text = true;  ///< false: a sample without a wanted caption lacks nothing
  std::uint64_t seed = 0;
  bool verify = true;
};

class LatentsSource : public RowSource {
 public:
  /// UserError: folder incomplete or of an older format, index missing or of another manifest, size or column missing, a bound
  /// that the index does not count.
  LatentsSource(const FolderOptions& options, const Once& once, std::shared_ptr<OpenFiles> files,
                ReadRules rules);

  std::string name() const override { return options_.folder.string(); }
  std::int64_t num_samples() const override { return num_samples_; }
  const RowShape& shape() const override { return shape_; }
  const core::Json& facts() const override { return facts_; }
  core::Json pin() const override;
  void read(std::span<RowWish> wishes) const override;
  std::vector<std::filesystem::path> files() const override;

 private:
  struct Scratch;  // of one read()
  void find_filter();
  void check_columns();
  void count_samples();
  FileName file(std::size_t shard, store::LatentFile which) const;
  std::shared_ptr<const ShardRows> rows_of(std::size_t shard, const FileName& images,
                                           const FileName& text) const;
  void read_of_shard(std::size_t shard, std::span<const std::size_t> order, std::span<RowWish> wishes,
                     Scratch& scratch) const;
  void ask_for_text(std::size_t shard, std::int64_t row, std::size_t wish, const ShardRows& rows,
                    RowWish& out, Scratch& scratch) const;
  void finish_text(Scratch& scratch, std::span<RowWish> wishes) const;
  void add_captions(const std::vector<std::pair<std::size_t, std::int64_t>>& chosen, std::size_t shard,
                    std::span<RowWish> wishes) const;
  std::exception_ptr named(const RowRequest& request, const Scratch& scratch) const;

  FolderOptions options_;
  core::Json facts_;
  store::LatentIndex index_;
  RowShape shape_;
  RowFilter filter_;
  CaptionChoice choice_{{}, {}, ""};
  int latents_ = -1, text_ = -1, scale_ = -1;  ///< columns of the index
  std::vector<std::int64_t> first_;            ///< index of each shard's first sample, and the total
  std::int64_t num_samples_ = 0;
  std::shared_ptr<OpenFiles> files_;
  std::uint64_t ids_ = 0;
  RowReader reader_;
  std::unique_ptr<ShardRowsCache> cache_;
};

}  // namespace microdit::stream
