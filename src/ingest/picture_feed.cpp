// A bounded queue of pictures in work.
#include "ingest/picture_feed.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/hash.h"

namespace microdit::ingest {

bool gave_out(const PictureResult& result) {
  return result.reason == "stopped" || result.reason == "damaged.time" ||
         result.reason == "damaged.crashed" || result.reason == "unsupported.memory";
}

PictureFeed::PictureFeed(const SamplesShard& shard, const ImageRecipe& recipe, PicturePool& pool)
    : shard_(shard), recipe_(recipe), pool_(pool) {
  fill();
}

void PictureFeed::fill() {
  while (begun_ < shard_.rows() && std::ssize(pending_) < pool_.most_pending()) {
    Pending& one = pending_.emplace_back();
    one.row = begun_++;
    one.bytes = shard_.picture(one.row);
    one.result = pool_.squares(one.bytes, recipe_.sizes, recipe_.enlarge);
  }
}

PictureFeed::Picture PictureFeed::next() {
  fill();
  Pending& first = pending_.front();
  Picture picture{first.row, core::xxh3_64(first.bytes), {}};
  const std::string& key = shard_.keys()[static_cast<std::size_t>(first.row)];
  picture.prepared = naming(shard_.reader().path().string(), key, [&] {
    PictureResult result = first.result.get();
    if (!gave_out(result) || result.reason == "stopped") return result;
    return pool_.squares_alone(first.bytes, recipe_.sizes, recipe_.enlarge);
  });
  pending_.pop_front();
  const PictureResult& found = picture.prepared;
  if (gave_out(found)) return picture;
  const auto at = static_cast<std::size_t>(picture.row);
  const auto say = [&](const std::string& what) {
    core::user_error("{}: the picture of '{}' {}: run clean again", shard_.reader().path().string(),
                     shard_.keys()[at], what);
  };
  if (!found.reason.empty()) say(fmt::format("cannot be decoded ({} {})", found.reason, found.detail));
  if (found.width != shard_.widths()[at] || found.height != shard_.heights()[at])
    say(fmt::format("has {} x {} pixels, not {} x {} as its columns say", found.width, found.height,
                    shard_.widths()[at], shard_.heights()[at]));
  core::check(found.squares.size() == recipe_.sizes.size(), "a picture was prepared for {} sizes of {}",
              found.squares.size(), recipe_.sizes.size());
  return picture;
}

}  // namespace microdit::ingest
