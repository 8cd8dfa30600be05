// Parquet by Arrow's column readers, which decode page by page into memory that is counted.
#include "tables/parquet_rows.h"

#include <arrow/memory_pool.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>
#include <parquet/schema.h>

#include <cstring>

#include "core/error.h"
#include "core/utf8.h"
#include "tables/arrow_input.h"
#include "tables/limits.h"
#include "tables/parquet_column.h"
#include "tables/thrift_bounds.h"

namespace microdit::tables {
namespace {

constexpr std::size_t kTrailerBytes = 8, kShownBytes = 300;
constexpr std::int64_t kStreamBytes = 256 << 10;

/// What a sink throws, on its way through: nobody takes it for Arrow's.
struct FromSink {
  std::exception_ptr error;
};

class ParquetRows {
 public:
  ParquetRows(const std::filesystem::path& file, const RowRequest& request, const RowSink& sink,
              const core::StopFlag& stop)
      : request_(request),
        sink_(sink),
        pool_(arrow::MemoryPool::CreateDefault()),
        capped_(pool_.get(), limits::kDecodedBytes),
        input_(std::make_shared<detail::ArrowInput>(file, stop, &capped_)) {}

  void read() {
    check_footer();
    try {
      open();
      for (int group = 0; group < reader_->metadata()->num_row_groups(); ++group) read_group(group);
      if (rows_ != reader_->metadata()->num_rows()) wrong("its row groups do not have the rows that it says");
    } catch (const FromSink& from) {
      std::rethrow_exception(from.error);
    } catch (const core::UserError&) {
      throw;
    } catch (const std::exception& error) {
      input_->rethrow();
      wrong(error.what());
    }
  }

 private:
  [[noreturn]] void wrong(std::string_view what) const {
    const bool memory = what.find("allocated") != what.npos || what.find("bad_alloc") != what.npos;
    core::user_error(
        "{}: cannot be read as Parquet: {}; {}", request_.origin,
        core::shortened(core::with_valid_utf8(what), kShownBytes),
        memory ? fmt::format("more than {} MiB would be decoded at a time: write it anew with smaller pages",
                             limits::kDecodedBytes >> 20)
               : "fetch it again, or write it anew");
  }

  void check_footer() const {
    const core::InputFile& file = input_->file();
    if (file.size() < kTrailerBytes + 4) wrong("it is too short");
    const std::string trailer = file.read_string(file.size() - kTrailerBytes, kTrailerBytes);
    if (trailer.ends_with("PARE")) wrong("it is encrypted");
    if (!trailer.ends_with("PAR1")) wrong("it is no Parquet file, or cut short");
    std::uint32_t bytes;
    std::memcpy(&bytes, trailer.data(), sizeof bytes);
    if (bytes > file.size() - kTrailerBytes - 4) wrong("its footer is longer than the file");
    if (bytes > limits::kFooterBytes)
      wrong(fmt::format("its footer has {} bytes, more than {}", bytes, limits::kFooterBytes));
    const std::string fault =
        detail::thrift_fault(file.read_string(file.size() - kTrailerBytes - bytes, bytes));
    if (!fault.empty()) wrong("its footer: " + fault);
  }

  void open() {
    parquet::ReaderProperties properties(&capped_);
    properties.enable_buffered_stream();
    properties.set_buffer_size(kStreamBytes);
    properties.set_thrift_string_size_limit(static_cast<std::int32_t>(limits::kFooterBytes));
    properties.set_thrift_container_size_limit(static_cast<std::int32_t>(limits::kFooterStructs));
    properties.set_page_checksum_verification(true);
    reader_ = parquet::ParquetFileReader::Open(input_, properties);
    const auto* schema = reader_->metadata()->schema();
    for (const std::string& name : request_.columns) columns_.push_back(find_column(*schema, name));
    cells_.resize(columns_.size());
  }

  int find_column(const parquet::SchemaDescriptor& schema, const std::string& name) const {
    int found = -1;
    std::string all;
    for (int i = 0; i < schema.num_columns(); ++i) {
      const std::string path = schema.Column(i)->path()->ToDotString();
      if (i < 50) all += (i == 0 ? "" : ", ") + path;
      if (path == name && found >= 0)
        core::user_error("{}: it has more than one column '{}'", request_.origin, name);
      if (path == name) found = i;
      if (path.starts_with(name + ".") && schema.Column(i)->max_repetition_level() > 0)
        core::user_error("{}: its column '{}' is a list, which no column of a table can be", request_.origin,
                         name);
    }
    if (found < 0)
      core::user_error("{}: it has no column '{}', but: {}", request_.origin, name,
                       core::shortened(core::with_valid_utf8(all), kShownBytes));
    if (const std::string fault = detail::column_fault(*schema.Column(found)); !fault.empty())
      core::user_error("{}: its column '{}' is {}, which no column of a table can be", request_.origin, name,
                       fault);
    return found;
  }

  void read_group(int number) {
    const auto group = reader_->RowGroup(number);
    const std::int64_t rows = group->metadata()->num_rows();
    if (rows < 0 || rows > static_cast<std::int64_t>(limits::kRows))
      wrong(fmt::format("row group {} has {} rows", number, rows));
    std::vector<std::unique_ptr<detail::ParquetColumn>> columns;
    for (const int column : columns_) {
      auto pages = group->GetColumnPageReader(column);
      pages->set_max_page_header_size(limits::kPageHeaderBytes);
      columns.push_back(
          detail::open_column(*reader_->metadata()->schema()->Column(column), std::move(pages), &capped_));
    }
    for (std::int64_t row = 0; row < rows; ++row, ++rows_) {
      for (std::size_t i = 0; i < columns.size(); ++i) {
        if (!columns[i]->next(cells_[i]))
          wrong(fmt::format("`{}` has fewer rows than row group {} says", request_.columns[i], number));
        count(cells_[i]);
      }
      give();
    }
    Value more;
    for (std::size_t i = 0; i < columns.size(); ++i)
      if (columns[i]->next(more))
        wrong(fmt::format("`{}` has more rows than row group {} says", request_.columns[i], number));
  }

  /// Repeated values cost next to nothing in the file: what they may become is bounded.
  void count(const Value& cell) {
    const auto* text = std::get_if<std::string>(&cell);
    if (text != nullptr && text->size() > limits::kRowBytes)
      wrong(fmt::format("row {} has more than {} bytes", rows_ + 1, limits::kRowBytes));
    decoded_ += sizeof(double) + (text == nullptr ? 0 : text->size());
    if (decoded_ > limits::kFreeExpansion && decoded_ / limits::kExpansion > input_->file().size())
      wrong(fmt::format("it unpacks to more than {} times its size", limits::kExpansion));
  }

  void give() {
    try {
      sink_(cells_);
    } catch (...) {
      throw FromSink{std::current_exception()};
    }
  }

  const RowRequest& request_;
  const RowSink& sink_;
  std::unique_ptr<arrow::MemoryPool> pool_;
  arrow::CappedMemoryPool capped_;
  std::shared_ptr<detail::ArrowInput> input_;
  std::unique_ptr<parquet::ParquetFileReader> reader_;
  std::vector<int> columns_;  ///< in the file
  Row cells_;
  std::int64_t rows_ = 0;
  std::uint64_t decoded_ = 0;
};

}  // namespace

bool reads_parquet() {
  return true;
}

void read_parquet_rows(const std::filesystem::path& file, const RowRequest& request, const RowSink& sink,
                       const core::StopFlag& stop) {
  ParquetRows(file, request, sink, stop).read();
}

}  // namespace microdit::tables
