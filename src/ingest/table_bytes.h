// A table's bytes as its readers want them: of a file, or of a member of an archive, which a worker process unpacks.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/stop_flag.h"
#include "tables/build_table.h"

namespace microdit::ingest {

class TableBytes {
 public:
  /// `archive`: tar, tgz or zip, then `member` names the file in it, or is a pattern; else none or gz. UserError when there is no such
  /// member or file.
  TableBytes(std::filesystem::path file, std::string archive, std::string member, const core::StopFlag& stop);
  ~TableBytes();
  TableBytes(const TableBytes&) = delete;

  /// Goes on to the next document, in the archive's order, and says the member's name ("" where it is the file itself); nothing
  /// behind the last.
  std::optional<std::string> next();
  /// The bytes of that document.
  tables::ByteSource source();

 private:
  void read_file();
  void read_member();
  struct Piece {
    std::vector<std::byte> bytes{};
    std::optional<std::string> begins{};  ///< a document, of this name; then it has no bytes
  };
  bool put(Piece&& piece);
  bool wait_for_piece(std::unique_lock<std::mutex>& lock);
  std::size_t take(std::span<std::byte> out);

  const std::filesystem::path file_;
  const std::string archive_, member_;
  const core::StopFlag& stop_;
  core::StopFlag given_up_;  ///< of the reading thread
  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<Piece> pieces_;
  std::size_t taken_ = 0;  ///< of the first
  bool over_ = false;
  std::exception_ptr failed_;
  std::thread thread_;
};

/// kind: texts. Adds every file of the archive whose path matches `pattern` ("" = all), with line ends as Python opens text: \n.
/// UserError, which names some that are there, where none does.
void read_texts(const std::filesystem::path& file, const std::string& archive, const std::string& pattern,
                tables::TextTable& texts, const core::StopFlag& stop);

}  // namespace microdit::ingest
