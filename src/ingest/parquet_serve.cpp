// Rows one after the other; what a page holds is held once, a picture of it twice.
#include "ingest/parquet_serve.h"

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/utf8.h"
#include "ingest/limits.h"
#include "ingest/worker_inside.h"
#include "ingest/worker_messages.h"
#include "ingest/worker_process.h"
#include "tables/parquet_file.h"

namespace microdit::ingest {
namespace {

constexpr std::string_view kBytes = ".bytes", kPath = ".path";
constexpr std::size_t kShownBytes = 200;

class RowSender {
 public:
  RowSender(const std::string& name, const std::string& picture, std::vector<std::string> others)
      : name_(name), picture_(picture), others_(std::move(others)) {}

  ArchiveSummary run(std::uint64_t file_bytes) {
    const core::StopFlag never;  // a stage that stops ends this process
    const tables::ParquetBounds bounds{.decoded_bytes = limits::kParquetBytes,
                                       .cell_bytes = limits::kParquetBytes,
                                       .rows = limits::records_of(file_bytes)};
    tables::ParquetFile file(core::InputFile(kWorkerFile, name_), name_, bounds, never);
    if (!file.has(picture_) && file.has(picture_ + std::string(kBytes))) picture_ += kBytes;
    tables::RowRequest request{name_, {picture_}, {}};
    if (picture_.ends_with(kBytes)) {
      const std::string path = picture_.substr(0, picture_.size() - kBytes.size()) + std::string(kPath);
      has_path_ = file.has(path);
      if (has_path_) request.columns.push_back(path);
    }
    request.columns.insert(request.columns.end(), others_.begin(), others_.end());
    file.read(request, [&](std::span<const tables::Value> row) { send(row); });
    if (with_bytes_ == 0 && !elsewhere_.empty())
      core::user_error(
          "{}: `{}` is empty in all of its {} rows, which name files alone (e.g. '{}'): its pictures lie "
          "elsewhere. "
          "Fetch them, and take this file as a table of theirs (record.kind: table, tables: kind: parquet)",
          name_, picture_, rows_, core::shortened(core::with_valid_utf8(elsewhere_), kShownBytes));
    return {.members = rows_};
  }

 private:
  void send(std::span<const tables::Value> row) {
    ++rows_;
    const auto* picture = std::get_if<std::string>(&row[0]);
    if (picture == nullptr && !tables::is_null(row[0]))
      core::user_error("{}: its column '{}' holds numbers, no pictures", name_, picture_);
    std::span<const std::byte> bytes;
    if (picture != nullptr) bytes = std::as_bytes(std::span(*picture));
    std::string_view skip;
    if (bytes.size() > limits::kRecordBytes) skip = "unsupported.oversize";
    if (bytes.empty() && has_path_) {
      const auto* path = std::get_if<std::string>(&row[1]);
      if (path != nullptr && !path->empty()) skip = "unsupported.no_bytes";
      if (!skip.empty() && elsewhere_.empty()) elsewhere_ = *path;
    }
    with_bytes_ += !bytes.empty();
    cells_.clear();
    tables::append_row(cut(row.subspan(has_path_ ? 2 : 1)), cells_);
    send_member(cells_, skip, skip.empty() ? bytes : std::span<const std::byte>());
  }

  const tables::Row& cut(std::span<const tables::Value> others) {
    row_.assign(others.begin(), others.end());
    for (tables::Value& cell : row_)
      if (auto* text = std::get_if<std::string>(&cell); text && text->size() > limits::kCaptionBytes)
        text->resize(limits::kCaptionBytes + 1);
    return row_;
  }

  const std::string& name_;
  std::string picture_;
  std::vector<std::string> others_;
  bool has_path_ = false;
  std::int64_t rows_ = 0, with_bytes_ = 0;
  std::string elsewhere_;  ///< the first path of a picture that is not there
  std::string cells_;
  tables::Row row_;
};

}  // namespace

int serve_parquet(int argc, char** argv) {
  limit_all(limits::kParquetMemory);
  if (std::freopen("/dev/null", "w", stderr) == nullptr)
    return 4;  // where Thrift tells what Arrow tells, too
  if (argc < 5 || argv[1] != worker_protocol() || argv[2] != std::string_view("rows")) return kOtherProtocol;
  const std::uint64_t bytes = limit_file_cpu();
  const std::string name = argv[3];
  return answer(name, [&] { return RowSender(name, argv[4], {argv + 5, argv + argc}).run(bytes); });
}

}  // namespace microdit::ingest
