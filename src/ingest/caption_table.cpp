// Captions repeat within a shard; the encoder sees each once.
#include "ingest/caption_table.h"

#include <algorithm>

#include <unordered_map>

#include "core/error.h"

namespace microdit::ingest {

CaptionTable tabulate_captions(const SamplesShard& shard, const std::vector<std::string>& sources) {
  std::vector<std::vector<std::string>> captions;
  for (const std::string& source : sources) {
    captions.push_back(store::read_strings(shard.reader(), "caption." + source));
    if (static_cast<std::int64_t>(captions.back().size()) != shard.rows())
      core::user_error("{}: `caption.{}` has {} rows for {} samples: remove it and run clean again",
                       shard.reader().path().string(), source, captions.back().size(), shard.rows());
  }
  CaptionTable table;
  std::unordered_map<std::string, std::int32_t> row_of;
  for (std::size_t i = 0; i < static_cast<std::size_t>(shard.rows()); ++i) {
    // A sample without any caption was kept so (captions.empty: keep): the empty one is its first source's.
    const bool none = std::ranges::all_of(captions, [&](const auto& texts) { return texts[i].empty(); });
    for (std::size_t source = 0; source < sources.size(); ++source) {
      const std::string& caption = captions[source][i];
      if (caption.empty() && !(none && source == 0)) continue;
      const auto [found, fresh] = row_of.try_emplace(caption, static_cast<std::int32_t>(table.unique.size()));
      if (fresh) table.unique.push_back(caption);
      table.rows.push_back(found->second);
      table.sources.push_back(static_cast<std::uint8_t>(source));
    }
    table.offsets.push_back(static_cast<std::int64_t>(table.rows.size()));
  }
  return table;
}

void CaptionTable::double_samples() {
  CaptionTable twice;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    for (int t = 0; t < 2; ++t) {
      twice.rows.insert(twice.rows.end(), rows.begin() + offsets[i], rows.begin() + offsets[i + 1]);
      twice.sources.insert(twice.sources.end(), sources.begin() + offsets[i],
                           sources.begin() + offsets[i + 1]);
      twice.offsets.push_back(static_cast<std::int64_t>(twice.rows.size()));
    }
  twice.unique = std::move(unique);
  *this = std::move(twice);
}

}  // namespace microdit::ingest
