// A small latents folder whose every value says which sample, caption and channel it belongs to.
#pragma once

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "store/manifest.h"
#include "store/sample_hash.h"
#include "store/shard.h"

namespace microdit::stream {

struct FolderShape {
  int shards = 3;
  int rows = 40;       ///< samples per shard
  int text_rows = 10;  ///< unique captions per shard
  int channels = 4;
  int side = 8;  ///< of the smaller latents; there are latents of twice the side, too
  int length = 3;
  int width = 32;
  int held_out_every = 10;  ///< every such sample is held out
  std::uint16_t base = 0;   ///< added to the sample number in the values
  std::string codec = "codec-a";
};

inline std::string latents_name(const FolderShape& shape, int factor) {
  return "latents_" + std::to_string(shape.side * factor * 8);
}

/// Sample s of the folder has latents filled with base + s; text row u of shard k is filled with k * 1000 + u
/// + 1 and its caption is "k/u". Sample s has 1 + s % 3 captions: rows s, s + 1, ... mod text_rows, sources
/// 0, 1, 0.
inline store::ShardContents make_shard(const FolderShape& shape, int shard) {
  using core::DType;
  store::ShardContents contents;
  const auto add = [&](std::string name, DType dtype, std::vector<std::int64_t> dims, const auto& values) {
    store::Column column{std::move(name), dtype, std::move(dims), {}};
    column.bytes.resize(values.size() * sizeof(values[0]));
    if (!values.empty()) std::memcpy(column.bytes.data(), values.data(), column.bytes.size());
    contents.columns.push_back(std::move(column));
  };
  std::vector<std::uint8_t> split, source;
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::int32_t> rows;
  std::vector<std::string> keys, captions;
  for (int factor : {1, 2}) {
    const int side = shape.side * factor;
    std::vector<std::uint16_t> latents;
    for (int row = 0; row < shape.rows; ++row)
      latents.insert(latents.end(), static_cast<std::size_t>(shape.channels * side * side),
                     static_cast<std::uint16_t>(shape.base + shard * shape.rows + row));
    add(latents_name(shape, factor), DType::f16, {shape.rows, shape.channels, side, side}, latents);
  }
  for (int row = 0; row < shape.rows; ++row) {
    const int sample = shard * shape.rows + row;
    split.push_back(sample % shape.held_out_every == shape.held_out_every - 1);
    for (int caption = 0; caption < 1 + sample % 3; ++caption) {
      rows.push_back((sample + caption) % shape.text_rows);
      source.push_back(static_cast<std::uint8_t>(caption % 2));
    }
    offsets.push_back(static_cast<std::int64_t>(rows.size()));
    keys.push_back("sample-" + std::to_string(sample));
  }
  std::vector<std::uint16_t> text;
  for (int row = 0; row < shape.text_rows; ++row) {
    text.insert(text.end(), static_cast<std::size_t>(shape.length * shape.width),
                static_cast<std::uint16_t>(shard * 1000 + row + 1));
    captions.push_back(std::to_string(shard) + "/" + std::to_string(row));
  }
  add("text", DType::f16, {shape.text_rows, shape.length, shape.width}, text);
  add("text_ids", DType::i32, {shape.text_rows, shape.length},
      std::vector<std::int32_t>(static_cast<std::size_t>(shape.text_rows * shape.length), 7));
  add("caption_offsets", DType::i64, {shape.rows + 1}, offsets);
  add("caption_rows", DType::i32, {static_cast<std::int64_t>(rows.size())}, rows);
  add("caption_source", DType::u8, {static_cast<std::int64_t>(source.size())}, source);
  add("split", DType::u8, {shape.rows}, split);
  store::add_strings(contents, "text_caption", captions);
  store::add_strings(contents, "key", keys);
  const store::SampleLayout layout{{latents_name(shape, 1), latents_name(shape, 2), "split"},
                                   {"key"},
                                   "caption_offsets",
                                   "caption_rows",
                                   {"text", "text_ids"}};
  contents.attributes = {{"layout", store::to_json(layout)}};
  contents.sample_hashes = store::hash_samples(contents, layout);
  return contents;
}

inline void make_folder(const std::filesystem::path& folder, const FolderShape& shape) {
  const core::Json facts = {{"stage", "latents"},
                            {"dataset", "numbers"},
                            {"channels", shape.channels},
                            {"sizes", {shape.side * 8, shape.side * 16}},
                            {"downscale", 8},
                            {"text_length", shape.length},
                            {"text_width", shape.width},
                            {"caption_sources", {"alt", "long"}},
                            {"codec", {{"name", shape.codec}}},
                            {"text_encoder", {{"name", "encoder"}}},
                            {"latent_std", 0.5}};
  store::StageFolder stage(folder, facts, shape.shards);
  for (int shard = 0; shard < shape.shards; ++shard) {
    const std::string item = "part-" + std::to_string(100000 + shard);
    const std::string file = item + "-00000.h5";
    const std::string sha256 = store::write_shard(folder / file, make_shard(shape, shard));
    stage.commit({item,
                  {{file, shape.rows, std::filesystem::file_size(folder / file), sha256}},
                  core::Json::object()});
  }
  stage.finish_if_complete();
}

}  // namespace microdit::stream
