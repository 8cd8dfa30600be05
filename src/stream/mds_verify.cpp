// Shard by shard; what is wrong with one is told and the next is looked at.
#include "stream/mds_verify.h"

#include <algorithm>

#include "core/error.h"
#include "core/named_hash.h"
#include "stream/mds_index.h"
#include "stream/mds_shard.h"

namespace microdit::stream {
namespace {

namespace fs = std::filesystem;

/// The samples' own sizes: all that there is to check where no hash is stated.
void check_samples(const OpenFile& file, const MdsColumns& columns, std::span<const std::uint32_t> offsets) {
  std::vector<std::byte> sample;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    sample.resize(offsets[i + 1] - offsets[i]);
    file.read(offsets[i], sample);
    split_mds_sample(sample, columns, fmt::format("{}: sample {}", file.name(), i));
  }
}

void check_packed(const fs::path& path, const MdsFile& stated) {
  const OpenFile file(path, false);
  std::vector<std::byte> block(std::min<std::uint64_t>(stated.bytes, 1u << 20));
  for (const auto& [algorithm, hex] : stated.hashes) {
    core::NamedHash sum(algorithm);
    for (std::uint64_t at = 0; at < stated.bytes; at += block.size()) {
      const auto part = std::span(block).first(std::min<std::uint64_t>(block.size(), stated.bytes - at));
      file.read(at, part);
      sum.update(part);
    }
    if (const std::string found = sum.hex_digest(); found != hex)
      core::user_error("{}: its {} is {}, index.json says {}", path.string(), algorithm, found, hex);
  }
}

void check(const MdsIndex& index, const MdsShard& shard) {
  const bool packed = shard.zipped && !fs::exists(index.folder / shard.raw.name);
  const MdsFile& stated = packed ? *shard.zipped : shard.raw;
  const fs::path path = index.folder / stated.name;
  if (!fs::exists(path)) core::user_error("{}: is missing", path.string());
  if (fs::file_size(path) != stated.bytes)
    core::user_error("{}: has {} bytes, index.json says {}", path.string(), fs::file_size(path),
                     stated.bytes);
  if (packed) return check_packed(path, stated);
  const OpenFile file(path, false);
  const std::vector<std::uint32_t> offsets = read_mds_offsets(file, shard, index.columns[shard.columns]);
  if (!stated.hashes.empty()) check_mds_shard(file, stated, offsets);
  check_samples(file, index.columns[shard.columns], offsets);
}

}  // namespace

bool is_mds_folder(const fs::path& folder) {
  if (fs::exists(folder / "index.json")) return true;
  std::error_code ignored;
  return std::any_of(fs::directory_iterator(folder, ignored), fs::directory_iterator(),
                     [](const auto& entry) { return fs::exists(entry.path() / "index.json"); });
}

std::vector<store::Damage> verify_mds(const fs::path& folder) {
  const MdsIndex index =
      read_mds_index(folder, [](const std::function<std::string()>& work) { return work(); });
  std::vector<store::Damage> damage;
  for (const MdsShard& shard : index.shards) {
    try {
      check(index, shard);
    } catch (const core::UserError& error) {
      std::string what = error.what();  // without the place, which is told apart
      if (const std::string place = (folder / "").string(); what.starts_with(place))
        what.erase(0, place.size());
      if (what.starts_with(shard.raw.name + ": ")) what.erase(0, shard.raw.name.size() + 2);
      damage.push_back({shard.raw.name, what});
    }
  }
  return damage;
}

}  // namespace microdit::stream
