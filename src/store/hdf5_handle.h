// What every call into the HDF5 library needs: its lock, its last words, and ids that close themselves. For hdf5_file.cpp alone.
#pragma once

#include <fmt/format.h>
#include <hdf5.h>

#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace microdit::store::hdf5 {

// The library may be built without its own lock; every call here goes through this one.
inline std::mutex& library_lock() {
  static std::mutex lock;
  // A damaged file can leave ids behind inside the library, and its exit handler then complains. Every file
  // of ours is closed where it was opened, so the handler has nothing to do.
  [[maybe_unused]] static const herr_t no_exit_handler = H5dont_atexit();
  return lock;
}

// The library's last failure: its innermost words or, where the system failed it, errno alone. Its words then hold times and
// addresses, which no manifest may.
struct Failure {
  std::string message;
  int error_number = 0;
};

inline Failure last_failure() {
  Failure failure{"unknown HDF5 error"};
  const auto take = [](unsigned depth, const H5E_error2_t* error, void* out) -> herr_t {
    auto& found = *static_cast<Failure*>(out);
    const std::string_view words = error->desc ? error->desc : "";
    if (depth == 0 && !words.empty()) found.message = words;
    constexpr std::string_view kErrno = "errno = ";
    if (const std::size_t at = words.find(kErrno); at != std::string_view::npos && found.error_number == 0)
      found.error_number = std::atoi(words.data() + at + kErrno.size());
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take, &failure);
  return failure;
}

// The library prints its error stack by default; we report it ourselves.
class QuietErrors {
 public:
  QuietErrors() {
    H5Eget_auto2(H5E_DEFAULT, &print_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~QuietErrors() { H5Eset_auto2(H5E_DEFAULT, print_, data_); }
  QuietErrors(const QuietErrors&) = delete;

 private:
  H5E_auto2_t print_ = nullptr;
  void* data_ = nullptr;
};

template <class Status>
Status ok(Status status, const char* what) {
  if (status >= 0) return status;
  Failure failure = last_failure();
  failure.message = fmt::format("{}: {}", what, failure.message);
  throw failure;
}

// An id and how to close it.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t), const char* what) : id_(ok(id, what)), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  operator hid_t() const { return id_; }
  /// Closing is where a file's last bytes are written, so it may fail.
  void close(const char* what) { ok(close_(std::exchange(id_, -1)), what); }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

}  // namespace microdit::store::hdf5
