// A small latents folder whose every value says which sample, caption and channel it belongs to.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "store/latent_index.h"
#include "store/manifest.h"
#include "store/sample_hash.h"
#include "store/shard_writer.h"

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
  int small_every =
      0;  ///< every such sample's picture has a shorter side of side * 8 pixels and no larger latents; else of 600
  bool int8 = false;  ///< text as int8 with a scale per row of tokens
  bool tokens_only = false;
  std::uint16_t base = 0;  ///< added to the sample number in the values
  std::string codec = "codec-a";
  std::vector<std::string> classes = {};  ///< names; where there are some, or class_of, the facts say so
  std::function<std::int32_t(int)> class_of =
      {};  ///< class of a sample, -1 = none; not given: no column of them
};

inline std::string latents_name(const FolderShape& shape, int factor) {
  return "latents_" + std::to_string(shape.side * factor * 8);
}

inline bool is_small(const FolderShape& shape, int sample) {
  return shape.small_every > 0 && sample % shape.small_every == 0;
}

template <class Values>
void add_column(store::ShardContents& contents, std::string name, core::DType dtype,
                std::vector<std::int64_t> dims, const Values& values) {
  store::Column column{std::move(name), dtype, std::move(dims), {}};
  column.bytes.resize(values.size() * sizeof(values[0]));
  if (!values.empty()) std::memcpy(column.bytes.data(), values.data(), column.bytes.size());
  contents.columns.push_back(std::move(column));
}

inline void finish_contents(store::ShardContents& contents, const store::SampleLayout& layout) {
  contents.attributes = {{"layout", store::to_json(layout)}};
  contents.sample_hashes = store::hash_samples(contents, layout);
}

/// Sample s of the folder has latents filled with base + s.
inline store::ShardContents make_images(const FolderShape& shape, int shard) {
  using core::DType;
  store::ShardContents contents;
  std::vector<std::int32_t> width, height, classes;
  std::vector<std::uint8_t> split;
  std::vector<std::string> keys;
  for (int factor : {1, 2}) {
    const int side = shape.side * factor;
    std::vector<std::uint16_t> latents;
    std::vector<std::int32_t> places;
    std::int32_t there = 0;
    for (int row = 0; row < shape.rows; ++row) {
      const int sample = shard * shape.rows + row;
      const bool skipped = factor == 2 && is_small(shape, sample);
      places.push_back(skipped ? -1 : there++);
      if (!skipped)
        latents.insert(latents.end(), static_cast<std::size_t>(shape.channels * side * side),
                       static_cast<std::uint16_t>(shape.base + sample));
    }
    add_column(contents, latents_name(shape, factor), DType::f16, {there, shape.channels, side, side},
               latents);
    add_column(contents, latents_name(shape, factor) + "_row", DType::i32, {shape.rows}, places);
  }
  for (int row = 0; row < shape.rows; ++row) {
    const int sample = shard * shape.rows + row;
    width.push_back(700);
    height.push_back(is_small(shape, sample) ? shape.side * 8 : 600);
    split.push_back(sample % shape.held_out_every == shape.held_out_every - 1);
    keys.push_back("sample-" + std::to_string(sample));
    if (shape.class_of) classes.push_back(shape.class_of(sample));
  }
  add_column(contents, "width", DType::i32, {shape.rows}, width);
  add_column(contents, "height", DType::i32, {shape.rows}, height);
  add_column(contents, "split", DType::u8, {shape.rows}, split);
  store::add_strings(contents, "key", keys);
  store::SampleLayout layout;
  layout.fixed = {"split", "width", "height"};
  if (shape.class_of) {
    add_column(contents, "class", DType::i32, {shape.rows}, classes);
    layout.fixed.push_back("class");
  }
  layout.variable = {"key"};
  layout.optional = {latents_name(shape, 1), latents_name(shape, 2)};
  finish_contents(contents, layout);
  return contents;
}

/// Text row u of shard k is filled with k * 1000 + u + 1 (int8: u + 1, scale 1) and its caption is "k/u", its token ids u. Sample s
/// has 1 + s % 3 captions: rows s, s + 1, ... mod text_rows, sources 0, 1, 0.
inline store::ShardContents make_text(const FolderShape& shape, int shard) {
  using core::DType;
  store::ShardContents contents;
  std::vector<std::uint16_t> text;
  std::vector<std::int8_t> text8;
  std::vector<std::int32_t> ids, lengths, rows;
  std::vector<std::uint8_t> source;
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::string> captions;
  const auto tokens = static_cast<std::size_t>(shape.length);
  for (int row = 0; row < shape.text_rows; ++row) {
    const std::size_t values = tokens * static_cast<std::size_t>(shape.width);
    text.insert(text.end(), values, static_cast<std::uint16_t>(shard * 1000 + row + 1));
    text8.insert(text8.end(), values, static_cast<std::int8_t>(row + 1));
    ids.insert(ids.end(), tokens, row);
    lengths.push_back(1 + row % shape.length);
    captions.push_back(std::to_string(shard) + "/" + std::to_string(row));
  }
  const std::vector<std::int64_t> dims = {shape.text_rows, shape.length, shape.width};
  store::SampleLayout layout;
  layout.via_offsets = "caption_offsets";
  layout.via_index = "caption_rows";
  if (shape.int8) {
    add_column(contents, "text", DType::i8, dims, text8);
    add_column(contents, "text_scale", DType::f32, {shape.text_rows, shape.length},
               std::vector<float>(static_cast<std::size_t>(shape.text_rows) * tokens, 1.0F));
    layout.shared = {"text", "text_scale"};
  } else if (!shape.tokens_only) {
    add_column(contents, "text", DType::f16, dims, text);
    layout.shared = {"text"};
  }
  layout.shared.push_back("text_ids");
  add_column(contents, "text_ids", DType::i32, {shape.text_rows, shape.length}, ids);
  add_column(contents, "text_length", DType::i32, {shape.text_rows}, lengths);
  for (int row = 0; row < shape.rows; ++row) {
    const int sample = shard * shape.rows + row;
    for (int caption = 0; caption < 1 + sample % 3; ++caption) {
      rows.push_back((sample + caption) % shape.text_rows);
      source.push_back(static_cast<std::uint8_t>(caption % 2));
    }
    offsets.push_back(static_cast<std::int64_t>(rows.size()));
  }
  add_column(contents, "caption_offsets", DType::i64, {shape.rows + 1}, offsets);
  add_column(contents, "caption_rows", DType::i32, {static_cast<std::int64_t>(rows.size())}, rows);
  add_column(contents, "caption_source", DType::u8, {static_cast<std::int64_t>(source.size())}, source);
  store::add_strings(contents, "text_caption", captions);
  finish_contents(contents, layout);
  return contents;
}

inline core::Json folder_facts(const FolderShape& shape) {
  core::Json facts = {{"stage", "latents"},
                      {"dataset", "numbers"},
                      {"recipe", "numbers"},
                      {"channels", shape.channels},
                      {"sizes", {shape.side * 8, shape.side * 16}},
                      {"downscale", 8},
                      {"enlarge", false},
                      {"text_length", shape.length},
                      {"text_width", shape.width},
                      {"caption_sources", {"alt", "long"}},
                      {"codec", {{"name", shape.codec}}},
                      {"text_encoder", {{"name", "encoder"}}},
                      {"latent_std", 0.5}};
  if (!shape.classes.empty() || shape.class_of) facts["classes"] = shape.classes;
  return facts;
}

/// Adds shards [first, shape.shards); `notes`: with what the index needs of them in their records, as precompute does.
inline void add_shards(store::StageFolder& stage, const FolderShape& shape, int first, bool notes) {
  const std::filesystem::path& folder = stage.path();
  for (int shard = first; shard < shape.shards; ++shard) {
    const std::string item = "part-" + std::to_string(100000 + shard) + "-00000";
    for (const bool images : {true, false}) {
      const std::string name = item + (images ? ".images" : ".text");
      const std::filesystem::path file = folder / (name + ".h5");
      const std::string sha256 =
          store::write_shard(file, images ? make_images(shape, shard) : make_text(shape, shard));
      const core::Json inputs = {{"samples_sha256", "of " + item}};
      store::Record record{
          name, {{file.filename().string(), shape.rows, std::filesystem::file_size(file), sha256}}};
      if (notes) record.notes = store::index_notes(file, folder_facts(shape));
      stage.commit({name, inputs}, record);
    }
  }
}

/// False when `stop` was seen.
inline bool close_folder(store::StageFolder& stage, const core::StopFlag& stop = core::StopFlag()) {
  const auto index = [&](const store::Manifest& manifest) {
    return store::write_latent_index(stage.path(), manifest, stop);
  };
  return stage.close(stage.survey(), index).has_value();
}

/// Adds shards [first, shape.shards) and closes the folder: a new generation when there are some already.
inline void grow_folder(const std::filesystem::path& folder, const FolderShape& shape, int first) {
  store::StageFolder stage(folder, folder_facts(shape));
  add_shards(stage, shape, first, false);
  close_folder(stage);
}

inline void make_folder(const std::filesystem::path& folder, const FolderShape& shape) {
  grow_folder(folder, shape, 0);
}

}  // namespace microdit::stream
