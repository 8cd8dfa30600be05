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
#include "tables/build_table.h"

namespace microdit::ingest {

class TableBytes {
 public:
  /// `archive`: tar, tgz or zip, then `member` names the file in it; else none. UserError when there is no such member or file.
  TableBytes(std::filesystem::path file, std::string archive, std::string member, const core::StopFlag& stop);
  ~TableBytes();
  TableBytes(const TableBytes&) = delete;

  tables::ByteSource source();

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

/// kind: texts. Adds every file of the archive whose path matches `pattern` ("" = all), with line ends as Python opens text: \n.
void read_texts(const std::filesystem::path& file, const std::string& archive, const std::string& pattern,
                tables::TextTable& texts, const core::StopFlag& stop);

}  // namespace microdit::ingest
