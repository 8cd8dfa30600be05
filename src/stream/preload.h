// Files brought into the page cache in order, in the background. What is read in singly, row by row, lies there in small pieces and is
// copied at half the speed for as long as it stays; and a disk gives whole files faster than rows.
#pragma once

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

namespace microdit::stream {

class Preload {
 public:
  /// Reads each file once from its beginning. What cannot be read is left to who wants a row of it.
  explicit Preload(std::vector<std::filesystem::path> files);
  /// Ends within one read.
  ~Preload();
  Preload(const Preload&) = delete;

 private:
  void work(const std::vector<std::filesystem::path>& files);
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace microdit::stream
