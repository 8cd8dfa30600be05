// A folder of samples or latents as WebDataset: a tar per shard, the members of a sample side by side under one key.
#pragma once

#include <cstdint>
#include <filesystem>

namespace microdit::ingest {

struct WebDatasetExport {
  std::int64_t shards = 0, samples = 0;
  std::int64_t kept = 0;  ///< of the shards: there already
};

/// Writes `output`/ITEM.tar for each shard of a closed stage folder, and `output`/webdataset.json, which says what they are of.
///   samples: KEY.jpg (or png, webp ...: the original bytes), KEY.txt (its first caption), KEY.json {key, width, height, split,
///            captions {source: text}}
///   latents: KEY.latents_<size>.npy f16 [C, h, w] (none where the size was skipped), KEY.text.npy f16 [captions, L, D] (int8 rows
///            are scaled back), KEY.text_ids.npy i32 [captions, L], KEY.txt, KEY.json {key, width, height, split, captions
///            [{source, text}]} in the order of the rows
/// Bytes depend on the folder alone; a second call goes on where the first was ended. UserError: no closed stage folder, an output
/// of another folder or generation, damage.
WebDatasetExport export_webdataset(const std::filesystem::path& folder, const std::filesystem::path& output);

}  // namespace microdit::ingest
