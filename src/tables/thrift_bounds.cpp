// Thrift's compact protocol, followed and not kept.
#include "tables/thrift_bounds.h"

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>

#include "tables/limits.h"
#include "tables/value.h"

namespace microdit::tables::detail {
namespace {

constexpr int kSchemaField = 2;

struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Walk {
 public:
  explicit Walk(std::string_view bytes) : left_(bytes) {}

  void structure(int depth) {
    if (depth > limits::kFooterDepth)
      throw Fault(fmt::format("structures nested deeper than {}", limits::kFooterDepth));
    count();
    std::int64_t id = 0;
    for (unsigned head = byte(); head != 0; head = byte()) {
      const unsigned step = head >> 4;
      id = step != 0 ? id + step : zigzag(number());
      at_schema_ = depth == 0 && id == kSchemaField;
      value(head & 15, depth, false);
    }
  }

 private:
  enum Type { kTrue = 1, kFalse, kByte, kI16, kI32, kI64, kDouble, kBinary, kList, kSet, kMap, kStruct };

  void value(unsigned type, int depth, bool element) {
    switch (type) {
      case kTrue:
      case kFalse:
        return skip(element ? 1 : 0);  // of a field it is the type itself
      case kByte:
        return skip(1);
      case kI16:
      case kI32:
      case kI64:
        return void(number());
      case kDouble:
        return skip(8);
      case kBinary:
        return count(), skip(number());
      case kList:
      case kSet:
        return list(depth);
      case kMap:
        return map(depth);
      case kStruct:
        return structure(depth + 1);
      default:
        throw Fault(fmt::format("an unknown type {}", type));
    }
  }

  void list(int depth) {
    if (depth >= limits::kFooterDepth)
      throw Fault(fmt::format("lists nested deeper than {}", limits::kFooterDepth));
    const bool schema = std::exchange(at_schema_, false);
    const unsigned head = byte();
    const std::uint64_t size = head >> 4 == 15 ? number() : head >> 4;
    if (size > left_.size())
      throw Fault(fmt::format("a list of {} elements in {} bytes", size, left_.size()));
    if (schema && size > limits::kSchemaElements)
      throw Fault(fmt::format("more than {} columns and groups", limits::kSchemaElements));
    for (std::uint64_t i = 0; i < size; ++i) value(head & 15, depth + 1, true);
  }

  void map(int depth) {
    if (depth >= limits::kFooterDepth)
      throw Fault(fmt::format("maps nested deeper than {}", limits::kFooterDepth));
    const std::uint64_t size = number();
    if (size > left_.size()) throw Fault(fmt::format("a map of {} entries in {} bytes", size, left_.size()));
    const unsigned types = size > 0 ? byte() : 0;
    for (std::uint64_t i = 0; i < size; ++i) {
      value(types >> 4, depth + 1, true);
      value(types & 15, depth + 1, true);
    }
  }

  void count() {
    if (++structs_ > limits::kFooterStructs)
      throw Fault(fmt::format("more than {} structures; write it anew with fewer row groups",
                              limits::kFooterStructs));
  }
  void skip(std::uint64_t bytes) {
    if (bytes > left_.size()) throw Fault("it ends too early");
    left_.remove_prefix(bytes);
  }
  unsigned byte() {
    if (left_.empty()) throw Fault("it ends too early");
    const auto value = static_cast<unsigned char>(left_[0]);
    left_.remove_prefix(1);
    return value;
  }
  std::uint64_t number() {
    const std::optional<std::uint64_t> value = take_number(left_);
    if (!value) throw Fault("a number that does not end");
    return *value;
  }
  static std::int64_t zigzag(std::uint64_t value) {
    return static_cast<std::int64_t>((value >> 1) ^ (0 - (value & 1)));
  }

  std::string_view left_;
  std::uint64_t structs_ = 0;
  bool at_schema_ = false;
};

}  // namespace

std::string thrift_fault(std::string_view footer) {
  try {
    Walk(footer).structure(0);
    return "";
  } catch (const Fault& fault) {
    return fault.what();
  }
}

}  // namespace microdit::tables::detail
