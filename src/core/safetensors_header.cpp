// The reference reader's ten checks, in its order and by its names, plus one it leaves out: duplicate keys.
#include "core/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_set>

#include "core/element_types.h"
#include "core/error.h"
#include "core/file_kind.h"
#include "core/utf8.h"

namespace microdit::core::detail {
namespace {

struct StoredType {
  std::string_view name;
  std::uint64_t bits;
};
// Every type of the format; those that DType lacks are checked like the others and cannot be read.
constexpr std::array<StoredType, 22> kStoredTypes{
    {{"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
     {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
     {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
     {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}}};

struct Entry {
  std::string name;
  const StoredType* type = nullptr;
  std::vector<std::uint64_t> shape;
  std::array<std::uint64_t, 2> offsets{};
  bool has_shape = false;
  bool has_offsets = false;
};

/// {name: {"dtype": s, "shape": [n...], "data_offsets": [n, n]}, "__metadata__": {s: s}}, and nothing else.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

  bool null() override { refuse("null"); }
  bool boolean(bool) override { refuse("a boolean"); }
  bool number_integer(number_integer_t value) override { refuse(fmt::format("the number {}", value)); }
  bool number_float(number_float_t, const string_t& text) override {
    refuse(fmt::format("the number {}", text));
  }
  bool binary(binary_t&) override { refuse("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      entries.back().shape.push_back(value);
    } else if (place_ == Place::offsets && num_offsets_ < 2) {
      entries.back().offsets[num_offsets_++] = value;
    } else {
      refuse(fmt::format("the number {}", value));
    }
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      metadata[key_] = value;
      return true;
    }
    if (place_ != Place::tensor || key_ != "dtype") refuse("a string");
    const auto found = std::find_if(kStoredTypes.begin(), kStoredTypes.end(),
                                    [&](const StoredType& type) { return type.name == value; });
    if (found == kStoredTypes.end())
      fail(fmt::format("tensor '{}' has the unknown dtype '{}'", entries.back().name, value));
    entries.back().type = &*found;
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::top;
    } else if (place_ == Place::top && key_ == "__metadata__") {
      place_ = Place::metadata;
      inner_keys_.clear();
    } else if (place_ == Place::top) {
      place_ = Place::tensor;
      inner_keys_.clear();
      entries.push_back({});
      entries.back().name = key_;
    } else {
      refuse("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      const Entry& entry = entries.back();
      if (entry.type == nullptr || !entry.has_shape || !entry.has_offsets) {
        fail(fmt::format("tensor '{}' lacks dtype, shape or data_offsets", entry.name));
      }
    }
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::tensor && key_ == "shape") {
      place_ = Place::shape;
      entries.back().has_shape = true;
    } else if (place_ == Place::tensor && key_ == "data_offsets") {
      place_ = Place::offsets;
      num_offsets_ = 0;
      entries.back().has_offsets = true;
    } else {
      refuse("a list");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets && num_offsets_ != 2)
      fail(fmt::format("tensor '{}' needs two data_offsets", entries.back().name));
    place_ = Place::tensor;
    return true;
  }

  bool key(string_t& name) override {
    auto& seen = place_ == Place::top ? names_ : inner_keys_;
    if (!seen.insert(name).second) fail(fmt::format("duplicate key '{}'", name));
    key_ = name;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail(fmt::format("the header is not valid JSON at byte {}", position));
  }

 private:
  enum class Place { outside, top, metadata, tensor, shape, offsets };

  [[noreturn]] static void fail(const std::string& what) {
    user_error("InvalidHeaderDeserialization: {}", what);
  }
  [[noreturn]] void refuse(const std::string& what) const {
    fail(fmt::format("{} where none may be (key '{}')", what, key_));
  }

  Place place_ = Place::outside;
  std::string key_;
  std::size_t num_offsets_ = 0;
  std::unordered_set<std::string> names_;
  std::unordered_set<std::string> inner_keys_;  // of the tensor or the metadata being read
};

/// Checks 6 to 9 of one entry that must begin where the last one ended.
void check_entry(const Entry& entry, std::uint64_t previous_end) {
  const auto [begin, end] = entry.offsets;
  if (begin != previous_end || end < begin) {
    user_error("InvalidOffset: tensor '{}' has data_offsets [{}, {}], it must begin at {}", entry.name, begin,
               end, previous_end);
  }
  std::uint64_t count = 1;
  bool overflow = false;
  for (std::uint64_t extent : entry.shape) {
    overflow |= extent > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    overflow |= __builtin_mul_overflow(count, extent, &count);
  }
  std::uint64_t bits = 0;
  overflow |= __builtin_mul_overflow(count, entry.type->bits, &bits);
  if (overflow) user_error("ValidationOverflow: tensor '{}' has an impossible shape", entry.name);
  if (bits % 8 != 0) user_error("MisalignedSlice: tensor '{}' does not fill whole bytes", entry.name);
  if (end - begin != bits / 8) {
    user_error("TensorInvalidInfo: tensor '{}' has {} bytes, its shape and dtype need {}", entry.name,
               end - begin, bits / 8);
  }
}

}  // namespace

std::uint64_t checked_header_size(std::string_view prefix, std::uint64_t file_size) {
  if (file_size == 0)
    user_error("HeaderTooSmall: it is empty: a download or copy never came to its end; fetch it again");
  if (file_size < 8 || prefix.size() < 8)
    user_error("HeaderTooSmall: {} bytes are no safetensors file", file_size);
  std::uint64_t size = 0;
  for (std::size_t i = 8; i-- > 0;) size = (size << 8) | static_cast<unsigned char>(prefix[i]);
  if (size > kMaxHeaderBytes)
    user_error("HeaderTooLarge: the header claims {} bytes, the limit is {}", size, kMaxHeaderBytes);
  if (size > file_size - 8)
    user_error("InvalidHeaderLength: the header claims {} bytes, the file has {}", size, file_size);
  return size;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t file_size) {
  if (first_invalid_utf8(json)) user_error("InvalidHeader: the header is not UTF-8");
  // The JSON library stops at a NUL and skips a byte-order mark; neither is JSON.
  if (json.find('\0') != json.npos || json.starts_with("\xef\xbb\xbf")) {
    user_error("InvalidHeaderDeserialization: the header is not valid JSON");
  }
  HeaderReader reader;
  nlohmann::json::sax_parse(json.begin(), json.end(), &reader);

  std::vector<Entry>& entries = reader.entries;
  std::sort(entries.begin(), entries.end(), [](const Entry& left, const Entry& right) {
    return std::tie(left.offsets, left.name) < std::tie(right.offsets, right.name);
  });
  std::uint64_t end = 0;
  for (const Entry& entry : entries) {
    check_entry(entry, end);
    end = entry.offsets[1];
  }
  const std::uint64_t data_begin = 8 + json.size();
  if (end != file_size - data_begin) {
    user_error("MetadataIncompleteBuffer: the tensors need {} bytes, the file has {} for them", end,
               file_size - data_begin);
  }

  SafetensorsHeader header{{}, {}, std::move(reader.metadata)};
  for (Entry& entry : entries) {
    if (!is_dtype(entry.type->name)) {
      header.unreadable.emplace(std::move(entry.name), foreign_type(entry.type->name));
      continue;
    }
    TensorInfo info{dtype_from_name(entry.type->name),
                    {entry.shape.begin(), entry.shape.end()},
                    data_begin + entry.offsets[0],
                    entry.offsets[1] - entry.offsets[0]};
    header.tensors.emplace(std::move(entry.name), std::move(info));
  }
  return header;
}

SafetensorsHeader read_safetensors_header(const InputFile& file) {
  const std::string begin = file.read_string(0, std::min<std::uint64_t>(kKindBytes, file.size()));
  // A header's size may begin with any bytes; what follows it is an object.
  const bool has_object = begin.size() > 8 && begin[8] == '{';
  if (const std::string foreign = foreign_format(begin); !has_object && !foreign.empty())
    user_error("{}", foreign);
  const std::uint64_t size = checked_header_size(begin.substr(0, 8), file.size());
  return parse_safetensors_header(file.read_string(8, size), file.size());
}

}  // namespace microdit::core::detail
