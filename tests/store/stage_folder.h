// A small stage folder of six items with two samples each, for tests.
#pragma once

#include <gmock/gmock.h>

#include <map>
#include <string>
#include <vector>

#include "core/atomic_file.h"
#include "store/manifest.h"
#include "store/sample_hash.h"
#include "store/shard_writer.h"
#include "store/temporary_folder.h"

namespace microdit::store {

inline const core::Json kFacts = {
    {"stage", "samples"}, {"codec", {{"kind", "vae"}, {"sha256", "ab"}}}, {"std", 0.1}, {"format", kFormat}};
inline constexpr int kItems = 6;
inline const core::StopFlag kGoOn;

inline std::string item_name(int item) {
  return "item-" + std::to_string(item);
}

// Two samples: 100 fixed bytes, a key, and one more column that belongs to no sample.
inline Record make_item(const StageFolder& stage, int item) {
  ShardContents contents;
  Column fixed{"pixels", core::DType::u8, {2, 100}, std::vector<std::byte>(200, std::byte(item))};
  Column other{"other", core::DType::u8, {300}, std::vector<std::byte>(300, std::byte{1})};
  contents.columns = {fixed, other};
  const std::vector<std::string> keys = {"key" + std::to_string(2 * item),
                                         "key" + std::to_string(2 * item + 1)};
  add_strings(contents, "key", keys);
  const SampleLayout layout{{"pixels"}, {"key"}, "", "", {}};
  contents.attributes = {{"layout", to_json(layout)}};
  contents.sample_hashes = hash_samples(contents, layout);
  const std::string file = item_name(item) + "-00000.h5";
  const std::string sha256 = write_shard(stage.path() / file, contents);
  return {item_name(item),
          {{file, 2, std::filesystem::file_size(stage.path() / file), sha256}},
          {{"skipped", item}}};
}

inline Item expected(int item, const char* source = "v1") {
  return {item_name(item), {{"source", source}}};
}

inline std::vector<Item> all_items(int count = kItems) {
  std::vector<Item> items;
  for (int item = 0; item < count; ++item) items.push_back(expected(item));
  return items;
}

// Closes the folder when every item of `items` is done; says whether it did.
inline bool close_when_done(StageFolder& stage, const std::vector<Item>& items) {
  const Standing standing = *stage.survey(items, kGoOn);
  if (!standing.pending.empty()) return false;
  stage.close(standing);
  return true;
}

inline void complete(const std::filesystem::path& folder) {
  StageFolder stage(folder, kFacts);
  for (int item = 0; item < kItems; ++item) stage.commit(expected(item), make_item(stage, item));
  ASSERT_TRUE(close_when_done(stage, all_items()));
}

inline std::map<std::string, std::filesystem::file_time_type> times_of(const std::filesystem::path& folder) {
  std::map<std::string, std::filesystem::file_time_type> times;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      times[std::filesystem::relative(entry.path(), folder).string()] = entry.last_write_time();
  return times;
}

inline std::map<std::string, std::string> contents_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[std::filesystem::relative(entry.path(), folder).string()] = core::read_text(entry.path());
  return files;
}

inline std::string report(const std::filesystem::path& folder) {
  std::string text;
  for (const Damage& damage : verify(folder)) text += damage.file + ": " + damage.what + "\n";
  return text;
}

}  // namespace microdit::store
