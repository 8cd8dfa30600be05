// The stage's side: which columns are wanted, and what a row of them is.
#include "ingest/parquet_records.h"

#include <utility>
#include <vector>

#include "core/error.h"
#include "ingest/limits.h"
#include "ingest/member_stream.h"
#include "ingest/record_places.h"
#include "ingest/worker_process.h"
#include "tables/parquet_rows.h"

namespace microdit::ingest {
namespace {

constexpr std::uint64_t kCellHead = 16;  // bytes beside a text: tag and length

/// Name among the record's cells -> column of the file.
std::vector<std::pair<std::string, std::string>> wanted_cells(const RecordSection& record) {
  std::vector<std::pair<std::string, std::string>> wanted;
  if (!record.label.empty()) wanted.emplace_back("class", record.label);
  for (const auto& [source, where] : record.caption)
    if (is_column(where)) wanted.emplace_back(where, column_of(where));
  wanted.insert(wanted.end(), record.columns.begin(), record.columns.end());
  return wanted;
}

}  // namespace

void parquet_records(const std::filesystem::path& file, const RecordSection& record, const TakeRecord& take,
                     const core::StopFlag& stop) {
  tables::require_parquet(file.string());
  const auto wanted = wanted_cells(record);
  std::vector<std::string> arguments = {"rows", file.string(), record.picture};
  for (const auto& [name, column] : wanted) arguments.push_back(column);
  const OpenFile open(file);
  WorkerProcess worker(arguments, open.fd(), kParquetWorker);
  const MemberBounds bounds{.name_bytes = (wanted.size() + 1) * (limits::kCaptionBytes + kCellHead) +
                                          limits::kMemberNameBytes};
  std::int64_t index = 0;
  tables::Row row;
  const auto on_member = [&](Member&& member) {
    std::string_view cells = member.name;
    if (!tables::take_row(cells, wanted.size(), row))
      core::user_error("{}: the process that read it answers nonsense: the file is hostile", file.string());
    RawRecord raw = numbered_record(file.filename().string(), index++, std::move(member.bytes));
    raw.skip = std::move(member.skip);
    for (std::size_t i = 0; i < wanted.size(); ++i)
      if (!tables::is_null(row[i])) raw.cells[wanted[i].first] = std::move(row[i]);
    take(std::move(raw));
  };
  if (receive_members(worker, file.string(), bounds, on_member, &stop).stopped) throw core::Stopped();
}

}  // namespace microdit::ingest
