// Reads for Arrow by core's pread.
#include "tables/arrow_input.h"

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/result.h>
#include <arrow/status.h>

#include <algorithm>
#include <span>
#include <utility>

namespace microdit::tables::detail {

ArrowInput::ArrowInput(core::InputFile&& file, const core::StopFlag& stop, arrow::MemoryPool* pool)
    : file_(std::move(file)), stop_(stop), pool_(pool) {}

void ArrowInput::rethrow() const {
  if (failed_) std::rethrow_exception(failed_);
}

arrow::Status ArrowInput::Close() {
  closed_ = true;
  return arrow::Status::OK();
}

arrow::Status ArrowInput::Seek(std::int64_t position) {
  if (position < 0) return arrow::Status::Invalid("a place before the file");
  at_ = position;
  return arrow::Status::OK();
}

arrow::Result<std::int64_t> ArrowInput::ReadAt(std::int64_t position, std::int64_t bytes,
                                               bool allow_short_read, void* out) {
  const auto size = static_cast<std::int64_t>(file_.size());
  if (position < 0 || bytes < 0 || position > size) return arrow::Status::Invalid("a place outside the file");
  const std::int64_t there = std::min(bytes, size - position);
  if (there < bytes && !allow_short_read) return arrow::Status::IOError("the file ends too early");
  try {
    if (stop_.requested()) throw core::Stopped();
    file_.read_at(static_cast<std::uint64_t>(position),
                  {static_cast<std::byte*>(out), static_cast<std::size_t>(there)});
  } catch (...) {
    failed_ = std::current_exception();
    return arrow::Status::IOError("cannot read");
  }
  return there;
}

arrow::Result<std::int64_t> ArrowInput::ReadAt(std::int64_t position, std::int64_t bytes, void* out) {
  return ReadAt(position, bytes, true, out);
}

arrow::Result<std::shared_ptr<arrow::Buffer>> ArrowInput::ReadAt(std::int64_t position, std::int64_t bytes,
                                                                 bool allow_short_read) {
  ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(bytes, pool_));
  ARROW_ASSIGN_OR_RAISE(const std::int64_t there,
                        ReadAt(position, bytes, allow_short_read, buffer->mutable_data()));
  ARROW_RETURN_NOT_OK(buffer->Resize(there));
  return std::shared_ptr<arrow::Buffer>(std::move(buffer));
}

arrow::Result<std::shared_ptr<arrow::Buffer>> ArrowInput::ReadAt(std::int64_t position, std::int64_t bytes) {
  return ReadAt(position, bytes, true);
}

arrow::Result<std::int64_t> ArrowInput::Read(std::int64_t bytes, void* out) {
  ARROW_ASSIGN_OR_RAISE(const std::int64_t there, ReadAt(at_, bytes, true, out));
  at_ += there;
  return there;
}

arrow::Result<std::shared_ptr<arrow::Buffer>> ArrowInput::Read(std::int64_t bytes) {
  ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(at_, bytes, true));
  at_ += buffer->size();
  return buffer;
}

}  // namespace microdit::tables::detail
