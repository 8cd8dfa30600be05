// A table's bytes as its readers want them: of a file, or of a member of an archive, which a worker process unpacks.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/stop_flag.h"
#include "tables/byte_source.h"
#include "tables/table_spec.h"

namespace microdit::ingest {

class TableBytes {
 public:
  /// `archive`: tar, tgz or zip, then `member` names the file in it; else none. UserError when there is no such member or file.
  TableBytes(std::filesystem::path file, std::string archive, std::string member, const core::StopFlag& stop);
  ~TableBytes();
  TableBytes(const TableBytes&) = delete;

  tables::ByteSource source();
  /// The archive to its end, where damage may show. Throws what the reading threw.
  void finish();

 private:
  void read_file();
  void read_member();
  bool put(std::vector<std::byte>&& piece);
  std::size_t take(std::span<std::byte> out);

  const std::filesystem::path file_;
  const std::string archive_, member_;
  const core::StopFlag& stop_;
  core::StopFlag given_up_;  ///< of the reading thread
  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<std::vector<std::byte>> pieces_;
  std::size_t taken_ = 0;  ///< of the first
  bool over_ = false;
  std::exception_ptr failed_;
  std::thread thread_;
};

/// kind: texts. Every file of the archive whose path `member` matches (default: all) is a row: its path's parts and its text, line ends
/// as \n and without white space at its ends, as Python reads one.
void read_texts(const std::filesystem::path& file, const std::string& archive, const tables::TableSpec& table,
                const tables::RowRequest& request, const tables::RowSink& sink, const core::StopFlag& stop);

}  // namespace microdit::ingest
