// Makes one shard of latents: a samples shard's pictures, or its captions.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "core/stop_flag.h"
#include "encoders/image_codec.h"
#include "ingest/encode_text.h"
#include "ingest/picture_worker.h"
#include "ingest/precompute_plan.h"
#include "ingest/progress.h"
#include "ingest/time_shares.h"
#include "store/sample_hash.h"
#include "store/shard_writer.h"

namespace microdit::ingest {

/// Two threads may make items at once: one encodes while the other checks its samples, has its first pictures decoded, or
/// writes. The encoders and their threads belong to one at a time, so that bits do not depend on the other.
class LatentMaker {
 public:
  /// Loads only what the parts need. At `stop` pictures in work are given up, and core::Stopped is thrown while weights
  /// are read. UserError: a folder that is no encoder.
  LatentMaker(const CatalogueEntry& entry, const PrecomputePlan& plan, torch::Device device, bool images,
              bool text, const core::StopFlag& stop);
  /// Publishes the shard; nothing when `stop` was seen. Of pictures, the record's details are `latents` (size -> rows) and
  /// `failed_pictures` (see skips.h): those that clean accepted and no worker could decode in two tries; they have no
  /// latents. UserError when they are more than filters.max_damaged_fraction of the shard: then the machine is to blame.
  std::optional<store::Record> make(const LatentItem& item, Progress& progress, const core::StopFlag& stop);

  /// Logs how much was encoded and where `wall_s` seconds went.
  void report(double wall_s) const;

 private:
  std::optional<store::Record> make_images(const LatentItem& item, Progress& progress,
                                           const core::StopFlag& stop);
  std::optional<store::Record> make_text(const LatentItem& item, Progress& progress,
                                         const core::StopFlag& stop);
  std::optional<store::Record> publish(const LatentItem& item, store::ShardWriter& shard,
                                       store::ShardContents& contents, const store::SampleLayout& layout,
                                       core::Json details, const core::StopFlag& stop);
  std::unique_lock<std::mutex> take_encoders();

  const CatalogueEntry& entry_;
  const PrecomputePlan& plan_;
  torch::Device device_;
  std::mutex encoders_;
  std::shared_ptr<encoders::ImageCodec> codec_;
  std::unique_ptr<CaptionEncoder> text_;
  std::unique_ptr<PicturePool> pool_;
  TimeShares times_;
  std::atomic<std::int64_t> pictures_ = 0, captions_ = 0;
};

}  // namespace microdit::ingest
