// Checks a samples shard before anything of it is used: a foreign one may be consistent in itself and still wrong.
#include "ingest/samples_shard.h"

#include <algorithm>

#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "store/sample_hash.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRemedy = "remove it and run clean again";

/// The shard, after its size was found to be the manifest's.
store::ShardReader open(const fs::path& folder, const store::ShardEntry& shard) {
  const fs::path path = folder / shard.file;
  const std::optional<std::uint64_t> bytes = core::input_bytes(path);
  if (!bytes) core::user_error("{}: is in the manifest but missing: run clean again", path.string());
  if (*bytes != shard.bytes)
    core::user_error("{}: has {} bytes, its manifest says {}: {}", path.string(), *bytes, shard.bytes,
                     kRemedy);
  return store::ShardReader(path);  // names the file when its structure is hit
}

void check_whole(const store::ShardReader& reader, const store::ShardEntry& shard,
                 const core::StopFlag& stop) {
  const fs::path& path = reader.path();
  const std::optional<std::string> sha256 = core::sha256_file(path, stop);
  if (!sha256) throw SamplesShard::Stopped();
  if (*sha256 == shard.sha256) return;
  const std::vector<std::int64_t> damaged = store::damaged_samples(reader);
  if (!damaged.empty())
    core::user_error(
        "{}: sample {} is damaged (its xxh3 is not the recorded one): {}; doctor verify {} lists all damage",
        path.string(), damaged[0], kRemedy, path.parent_path().string());
  core::user_error(
      "{}: is another file than its manifest says, or damaged outside its samples (SHA-256 is not {}): {}",
      path.string(), shard.sha256, kRemedy);
}

}  // namespace

template <class T>
std::vector<T> SamplesShard::column(const std::string& name) const {
  std::vector<T> values = reader_.read_as<T>(name);
  if (static_cast<std::int64_t>(values.size()) != rows())
    core::user_error("{}: column `{}` has {} rows for {} samples: {}", reader_.path().string(), name,
                     values.size(), rows(), kRemedy);
  return values;
}

std::string fingerprint_of(const store::Record& samples, std::size_t shard) {
  const core::Json all = samples.details.value("fingerprints", core::Json::array());
  return shard < all.size() && all[shard].is_string() ? all[shard].get<std::string>() : "";
}

SamplesShard::SamplesShard(const fs::path& folder, const store::ShardEntry& entry, SamplesUse use,
                           const std::string& fingerprint, const core::StopFlag& stop)
    : reader_(open(folder, entry)) {
  if (use == SamplesUse::pictures || core::hex(reader_.fingerprint()) != fingerprint)
    check_whole(reader_, entry, stop);
  keys_ = store::read_strings(reader_, "key");
  if (rows() != entry.rows)
    core::user_error("{}: has {} samples, its manifest says {}: {}", reader_.path().string(), rows(),
                     entry.rows, kRemedy);
  if (use == SamplesUse::captions) return;
  widths_ = column<std::int32_t>("width");
  heights_ = column<std::int32_t>("height");
  pictures_ = std::make_unique<store::ByteRows>(reader_, "image");
  if (pictures_->size() != rows())
    core::user_error("{}: holds {} pictures for {} samples: {}", reader_.path().string(), pictures_->size(),
                     rows(), kRemedy);
}

std::int64_t SamplesShard::shorter_side(std::int64_t row) const {
  return std::min(widths_[static_cast<std::size_t>(row)], heights_[static_cast<std::size_t>(row)]);
}

std::vector<std::byte> SamplesShard::picture(std::int64_t row) const {
  return pictures_->read(row);
}

template std::vector<std::uint8_t> SamplesShard::column(const std::string&) const;

}  // namespace microdit::ingest
