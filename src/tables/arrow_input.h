// Private to tables: a file as Arrow reads one. What goes wrong with the device stays what it is.
#pragma once

#include <arrow/io/interfaces.h>
#include <arrow/result.h>

#include <exception>

#include "core/input_file.h"
#include "core/stop_flag.h"

namespace microdit::tables::detail {

class ArrowInput : public arrow::io::RandomAccessFile {
 public:
  ArrowInput(core::InputFile&& file, const core::StopFlag& stop, arrow::MemoryPool* pool);

  const core::InputFile& file() const { return file_; }
  /// Throws what a read has thrown: Arrow knows only that it failed.
  void rethrow() const;

  arrow::Status Close() override;
  bool closed() const override { return closed_; }
  arrow::Result<std::int64_t> Tell() const override { return at_; }
  arrow::Status Seek(std::int64_t position) override;
  arrow::Result<std::int64_t> GetSize() override { return static_cast<std::int64_t>(file_.size()); }
  arrow::Result<std::int64_t> Read(std::int64_t bytes, void* out) override;
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(std::int64_t bytes) override;
  arrow::Result<std::int64_t> ReadAt(std::int64_t position, std::int64_t bytes, bool allow_short_read,
                                     void* out) override;
  arrow::Result<std::int64_t> ReadAt(std::int64_t position, std::int64_t bytes, void* out) override;
  arrow::Result<std::shared_ptr<arrow::Buffer>> ReadAt(std::int64_t position, std::int64_t bytes,
                                                       bool allow_short_read) override;
  arrow::Result<std::shared_ptr<arrow::Buffer>> ReadAt(std::int64_t position, std::int64_t bytes) override;

 private:
  core::InputFile file_;
  const core::StopFlag& stop_;
  arrow::MemoryPool* pool_;
  std::int64_t at_ = 0;
  bool closed_ = false;
  std::exception_ptr failed_;
};

}  // namespace microdit::tables::detail
