// A small shard with a column of every kind.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "store/sample_hash.h"
#include "store/shard.h"

namespace microdit::store {

template <class T>
Column column(std::string name, core::DType dtype, std::vector<std::int64_t> shape,
              const std::vector<T>& values) {
  Column made{std::move(name), dtype, std::move(shape), {}};
  made.bytes.resize(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(made.bytes.data(), values.data(), made.bytes.size());
  return made;
}

// One column of every type, strings, and a layout with shared rows.
inline ShardContents example() {
  ShardContents contents;
  std::vector<std::uint16_t> halves;
  for (int i = 0; i < 3 * 64; ++i) halves.push_back(core::float_to_half(0.25f * static_cast<float>(i) - 8));
  contents.columns.push_back(column("half", core::DType::f16, {3, 4, 16}, halves));
  contents.columns.push_back(column<std::uint8_t>("flag", core::DType::boolean, {3}, {1, 0, 1}));
  contents.columns.push_back(column<std::int8_t>("i8", core::DType::i8, {3}, {-1, 0, 127}));
  contents.columns.push_back(column<std::int16_t>("i16", core::DType::i16, {3}, {-300, 0, 300}));
  contents.columns.push_back(column<std::uint16_t>("u16", core::DType::u16, {3}, {1, 2, 65535}));
  contents.columns.push_back(
      column<std::uint16_t>("brain", core::DType::bf16, {3}, {0x3f80, 0xc000, 0x0000}));
  contents.columns.push_back(column<std::uint32_t>("u32", core::DType::u32, {3}, {1, 2, 4000000000u}));
  contents.columns.push_back(column<float>("single", core::DType::f32, {3, 2}, {1, 2, 3, 4, 5, -6.5f}));
  contents.columns.push_back(column<double>("double", core::DType::f64, {3}, {1.5, 2.5, -1e300}));
  contents.columns.push_back(column<std::int64_t>("nothing", core::DType::i64, {0, 7}, {}));
  const std::vector<std::string> keys = {"first", "", "th\xc3\xafrd"};
  add_strings(contents, "key", keys);
  contents.columns.push_back(column<std::int64_t>("entry_offsets", core::DType::i64, {4}, {0, 2, 2, 3}));
  contents.columns.push_back(column<std::int32_t>("entry_rows", core::DType::i32, {3}, {1, 0, 1}));
  std::vector<std::uint16_t> text(64, 0x3c00);
  text[63] = 0x4000;  // the two rows differ
  contents.columns.push_back(column("text", core::DType::f16, {2, 32}, text));
  const SampleLayout layout{{"half", "flag"}, {"key"}, "entry_offsets", "entry_rows", {"text"}};
  contents.attributes = {{"layout", to_json(layout)}, {"note", "caf\xc3\xa9"}};
  contents.sample_hashes = hash_samples(contents, layout);
  return contents;
}

}  // namespace microdit::store
