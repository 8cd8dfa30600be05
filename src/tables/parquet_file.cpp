// Parquet by Arrow's column readers, which decode page by page into memory that is counted.
#include "tables/parquet_file.h"

#include <arrow/memory_pool.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>
#include <parquet/schema.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/utf8.h"
#include "tables/arrow_input.h"
#include "tables/parquet_column.h"
#include "tables/parquet_schema.h"
#include "tables/thrift_bounds.h"

namespace microdit::tables {
namespace {

constexpr std::size_t kTrailerBytes = 8, kShownBytes = 300;
constexpr std::int64_t kStreamBytes = 256 << 10;

/// What a sink throws, on its way through: nobody takes it for Arrow's.
struct FromSink {
  std::exception_ptr error;
};

}  // namespace

class ParquetFile::Open {
 public:
  Open(core::InputFile&& file, std::string origin, const ParquetBounds& bounds, const core::StopFlag& stop)
      : origin_(std::move(origin)),
        bounds_(bounds),
        stop_(stop),
        capped_(arrow::system_memory_pool(), bounds.decoded_bytes),
        input_(std::make_shared<detail::ArrowInput>(std::move(file), stop, &capped_)) {
    check_footer();
    guarded([&] { open(); });
    const std::int64_t rows = reader_->metadata()->num_rows();
    if (rows < 0 || static_cast<std::uint64_t>(rows) > bounds_.rows)
      wrong(fmt::format("it says that it has {} rows; one of {} bytes may have {}", rows,
                        input_->file().size(), bounds_.rows));
  }

  const parquet::SchemaDescriptor& schema() const { return *reader_->metadata()->schema(); }

  void read(const RowRequest& request, const RowSink& sink) {
    for (const std::string& name : request.columns)
      columns_.push_back(detail::find_column(schema(), name, origin_));
    cells_.resize(columns_.size());
    guarded([&] {
      for (group_ = 0; group_ < reader_->metadata()->num_row_groups(); ++group_) read_group(request, sink);
      at_ = nullptr;
      if (rows_ != reader_->metadata()->num_rows()) wrong("its row groups do not have the rows that it says");
    });
  }

 private:
  template <class Work>
  void guarded(const Work& work) {
    try {
      work();
    } catch (const FromSink& from) {
      std::rethrow_exception(from.error);
    } catch (const core::UserError&) {
      throw;
    } catch (const std::exception& error) {
      input_->rethrow();
      wrong(error.what());
    }
  }

  [[noreturn]] void wrong(std::string_view what) const {
    const bool memory = what.find("alloc") != what.npos || what.find("ut of memory") != what.npos;
    std::string said = core::shortened(core::with_valid_utf8(what), kShownBytes);
    std::ranges::replace(said, '\n', ' ');
    if (said.find("decrypt") != said.npos) said = "it is encrypted, and there is no key for it";
    core::user_error("{}: cannot be read as Parquet: {}{}; {}", origin_, where(), said,
                     memory
                         ? fmt::format("more than {} MiB would be decoded at a time, a page is held as a "
                                       "whole: write it anew with smaller "
                                       "row groups (pyarrow: row_group_size=100; datasets: batch_size=100)",
                                       bounds_.decoded_bytes >> 20)
                         : "fetch it again, or write it anew");
  }

  /// "column `image.bytes` of row group 3 (800 MiB in the file): "
  std::string where() const {
    if (at_ == nullptr) return "";
    std::int64_t bytes = 0;
    try {
      bytes = reader_->metadata()->RowGroup(group_)->ColumnChunk(at_->column)->total_compressed_size();
    } catch (const std::exception&) {  // what it says of the column may be what is wrong
    }
    return fmt::format("column `{}` of row group {} ({} MiB in the file): ",
                       core::with_valid_utf8(schema().Column(at_->column)->path()->ToDotString()), group_,
                       bytes >> 20);
  }

  void check_footer() const {
    const core::InputFile& file = input_->file();
    if (file.size() < kTrailerBytes + 4) wrong("it is too short");
    const std::string trailer = file.read_string(file.size() - kTrailerBytes, kTrailerBytes);
    if (trailer.ends_with("PARE")) wrong("it is encrypted, and there is no key for it");
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
  }

  void read_group(const RowRequest& request, const RowSink& sink) {
    const auto group = reader_->RowGroup(group_);
    const std::int64_t rows = group->metadata()->num_rows();
    if (rows < 0 || static_cast<std::uint64_t>(rows) > bounds_.rows)
      wrong(fmt::format("row group {} has {} rows", group_, rows));
    std::vector<std::unique_ptr<detail::ParquetColumn>> columns;
    for (const detail::ColumnPlace& place : columns_) {
      at_ = &place;
      auto pages = group->GetColumnPageReader(place.column);
      pages->set_max_page_header_size(limits::kPageHeaderBytes);
      columns.push_back(detail::open_column(*schema().Column(place.column), place.element, std::move(pages),
                                            &capped_, stop_));
    }
    for (std::int64_t row = 0; row < rows; ++row, ++rows_) {
      for (std::size_t i = 0; i < columns.size(); ++i) {
        at_ = &columns_[i];
        if (!columns[i]->next(cells_[i]))
          wrong(fmt::format("`{}` has fewer rows than row group {} says", request.columns[i], group_));
        count(cells_[i]);
      }
      give(request, sink);
    }
    Value more;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      at_ = &columns_[i];
      if (columns[i]->next(more))
        wrong(fmt::format("`{}` has more rows than row group {} says", request.columns[i], group_));
    }
  }

  /// Repeated values cost next to nothing in the file: what they may become is bounded.
  void count(const Value& cell) {
    const auto* text = std::get_if<std::string>(&cell);
    if (text != nullptr && text->size() > bounds_.cell_bytes)
      wrong(fmt::format("row {} has more than {} bytes", rows_ + 1, bounds_.cell_bytes));
    decoded_ += sizeof(double) + (text == nullptr ? 0 : text->size());
    if (decoded_ > limits::kFreeExpansion && decoded_ / limits::kExpansion > input_->file().size())
      wrong(fmt::format("it unpacks to more than {} times its size", limits::kExpansion));
  }

  /// Where somebody counts them, a row with a text that is none is one row less.
  bool is_damaged(const RowRequest& request) const {
    for (std::size_t i = 0; request.damaged && i < cells_.size(); ++i) {
      const auto* text = std::get_if<std::string>(&cells_[i]);
      if (text == nullptr || !core::first_invalid_utf8(*text)) continue;
      request.damaged(fmt::format("row {}: `{}` is not UTF-8", rows_ + 1, request.columns[i]));
      return true;
    }
    return false;
  }

  void give(const RowRequest& request, const RowSink& sink) {
    try {
      if (!is_damaged(request)) sink(cells_);
    } catch (...) {
      throw FromSink{std::current_exception()};
    }
  }

  std::string origin_;
  ParquetBounds bounds_;
  const core::StopFlag& stop_;
  arrow::CappedMemoryPool capped_;
  std::shared_ptr<detail::ArrowInput> input_;
  std::unique_ptr<parquet::ParquetFileReader> reader_;
  std::vector<detail::ColumnPlace> columns_;
  const detail::ColumnPlace* at_ = nullptr;  ///< what is read just now
  int group_ = 0;
  Row cells_;
  std::int64_t rows_ = 0;
  std::uint64_t decoded_ = 0;
};

ParquetFile::ParquetFile(core::InputFile&& file, std::string origin, const ParquetBounds& bounds,
                         const core::StopFlag& stop)
    : open_(std::make_unique<Open>(std::move(file), std::move(origin), bounds, stop)) {}

ParquetFile::~ParquetFile() = default;

bool ParquetFile::has(std::string_view column) const {
  const parquet::SchemaDescriptor& schema = open_->schema();
  for (int i = 0; i < schema.num_columns(); ++i)
    if (schema.Column(i)->path()->ToDotString() == column) return true;
  return false;
}

void ParquetFile::read(const RowRequest& request, const RowSink& sink) {
  open_->read(request, sink);
}

}  // namespace microdit::tables
