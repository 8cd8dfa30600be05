// One shard of samples/NAME as precompute reads it: what is used of it is checked, every picture's bytes come on demand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "store/byte_rows.h"
#include "store/manifest.h"
#include "store/shard.h"

namespace microdit::ingest {

/// What is going to be read of a shard.
enum class SamplesUse {
  pictures,  ///< everything: the file's SHA-256 is checked, so all of it is read once
  captions  ///< key and captions: the shard is known by its fingerprint, each column by its own hash; pictures are not read
};

/// Of a record's shard the ShardReader's fingerprint, hex; "" where clean was older and noted none.
std::string fingerprint_of(const store::Record& samples, std::size_t shard);

class SamplesShard {
 public:
  /// UserError when the file is not what the manifest says; names the samples that are hit. `fingerprint`: what its record
  /// says (see clean_item); where that is "" or another, the SHA-256 decides. Stopped when `stop` is seen before it is known.
  SamplesShard(const std::filesystem::path& folder, const store::ShardEntry& entry, SamplesUse use,
               const std::string& fingerprint = "", const core::StopFlag& stop = {});
  SamplesShard(const SamplesShard&) = delete;
  using Stopped = core::Stopped;

  std::int64_t rows() const { return static_cast<std::int64_t>(keys_.size()); }
  const store::ShardReader& reader() const { return reader_; }
  const std::vector<std::string>& keys() const { return keys_; }
  // The rest only where pictures are used.
  const std::vector<std::int32_t>& widths() const { return widths_; }
  const std::vector<std::int32_t>& heights() const { return heights_; }
  std::int64_t shorter_side(std::int64_t row) const;
  std::vector<std::uint8_t> splits() const { return column<std::uint8_t>("split"); }
  /// The original bytes of a picture. May be called from several threads.
  std::vector<std::byte> picture(std::int64_t row) const;

 private:
  template <class T>
  std::vector<T> column(const std::string& name) const;
  store::ShardReader reader_;
  std::vector<std::string> keys_;
  std::vector<std::int32_t> widths_, heights_;
  std::unique_ptr<store::ByteRows> pictures_;  ///< in the shard, or where it says that they lie
};

}  // namespace microdit::ingest
