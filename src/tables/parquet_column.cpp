// Typed columns of Parquet as cells.
#include "tables/parquet_column.h"

#include <fmt/format.h>
#include <parquet/exception.h>
#include <parquet/schema.h>
#include <parquet/types.h>

#include <array>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "tables/limits.h"

namespace microdit::tables::detail {
namespace {

constexpr std::int64_t kBatch = 1024;

bool is_unsigned(const parquet::ColumnDescriptor& column) {
  const auto& type = column.logical_type();
  return type && type->is_int() && !static_cast<const parquet::IntLogicalType&>(*type).is_signed();
}

template <class Type>
class Typed : public ParquetColumn {
 public:
  Typed(const parquet::ColumnDescriptor& column, int element, std::unique_ptr<parquet::PageReader> pages,
        arrow::MemoryPool* pool, const core::StopFlag& stop)
      : element_(element),
        most_(column.max_definition_level()),
        unsigned_(is_unsigned(column)),
        stop_(stop),
        reader_(std::static_pointer_cast<parquet::TypedColumnReader<Type>>(
            parquet::ColumnReader::Make(&column, std::move(pages), pool))) {}

  bool next(Value& out) override {
    if (element_ < 0) return take(out);
    if (level_ == levels_ && !read()) return false;
    if (repeated_[static_cast<std::size_t>(level_)] != 0)
      throw parquet::ParquetException("a list goes on that has not begun");
    out = std::monostate();
    Value other;
    std::int64_t at = 0;
    do {
      if (at > limits::kListElements)
        throw parquet::ParquetException(
            fmt::format("a list of more than {} elements", limits::kListElements));
      take(at++ == element_ ? out : other);
    } while ((level_ < levels_ || read()) && repeated_[static_cast<std::size_t>(level_)] != 0);
    return true;
  }

 private:
  /// The next value, of whatever row.
  bool take(Value& out) {
    if (level_ == levels_ && !read()) return false;
    if (most_ > 0 && defined_[static_cast<std::size_t>(level_++)] < most_)
      return out = std::monostate(), true;
    if (most_ == 0) ++level_;
    if (value_ == num_values_) throw parquet::ParquetException("a page has fewer values than it says");
    set(out, values_[static_cast<std::size_t>(value_++)]);
    return true;
  }

  /// Of one page alone: values of text point into it.
  bool read() {
    if (stop_.requested()) throw core::Stopped();
    level_ = levels_ = value_ = num_values_ = 0;
    if (!reader_->HasNext()) return false;
    levels_ = reader_->ReadBatch(kBatch, defined_.data(), element_ < 0 ? nullptr : repeated_.data(),
                                 values_.data(), &num_values_);
    if (levels_ <= 0 || levels_ > kBatch || num_values_ < 0 || num_values_ > levels_)
      throw parquet::ParquetException("a page has fewer values than it says");
    return true;
  }

  void set(Value& out, const typename Type::c_type& value) const {
    using T = typename Type::c_type;
    if constexpr (std::is_same_v<T, bool>) {
      out = value;
    } else if constexpr (std::is_same_v<T, std::int32_t>) {
      out = unsigned_ ? std::int64_t{static_cast<std::uint32_t>(value)} : std::int64_t{value};
    } else if constexpr (std::is_same_v<T, std::int64_t>) {
      if (unsigned_ && value < 0)
        out = fmt::format("{}", static_cast<std::uint64_t>(value));
      else
        out = value;
    } else if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(value))
        out = std::monostate();
      else if constexpr (std::is_same_v<T, float>)
        out = static_cast<double>(value);
      else
        out = value;
    } else {
      const std::string_view text(reinterpret_cast<const char*>(value.ptr), value.len);
      if (auto* old = std::get_if<std::string>(&out))
        old->assign(text);
      else
        out = std::string(text);
    }
  }

  std::int64_t element_;
  std::int16_t most_;
  bool unsigned_;
  const core::StopFlag& stop_;
  std::shared_ptr<parquet::TypedColumnReader<Type>> reader_;
  std::array<std::int16_t, kBatch> defined_, repeated_;
  std::array<typename Type::c_type, kBatch> values_;
  std::int64_t level_ = 0, levels_ = 0, value_ = 0, num_values_ = 0;
};

}  // namespace

std::string column_fault(const parquet::ColumnDescriptor& column) {
  if (const auto& type = column.logical_type(); type && (type->is_decimal() || type->is_float16()))
    return type->ToString();
  if (column.physical_type() == parquet::Type::INT96 ||
      column.physical_type() == parquet::Type::FIXED_LEN_BYTE_ARRAY)
    return parquet::TypeToString(column.physical_type());
  return "";
}

std::unique_ptr<ParquetColumn> open_column(const parquet::ColumnDescriptor& column, int element,
                                           std::unique_ptr<parquet::PageReader> pages,
                                           arrow::MemoryPool* pool, const core::StopFlag& stop) {
  const auto make = [&]<class Type>(Type) {
    return std::make_unique<Typed<Type>>(column, element, std::move(pages), pool, stop);
  };
  switch (column.physical_type()) {
    case parquet::Type::BOOLEAN:
      return make(parquet::BooleanType());
    case parquet::Type::INT32:
      return make(parquet::Int32Type());
    case parquet::Type::INT64:
      return make(parquet::Int64Type());
    case parquet::Type::FLOAT:
      return make(parquet::FloatType());
    case parquet::Type::DOUBLE:
      return make(parquet::DoubleType());
    default:
      return make(parquet::ByteArrayType());
  }
}

}  // namespace microdit::tables::detail
