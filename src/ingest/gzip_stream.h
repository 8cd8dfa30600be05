// A gzip file as a stream of bytes, several gzip members one behind the other included; every checksum is looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace microdit::ingest {

class GzipStream {
 public:
  /// `name` is for messages; more than `allowed` unpacked bytes are a bomb.
  GzipStream(int file, const std::string& name, std::uint64_t allowed);
  ~GzipStream();
  GzipStream(const GzipStream&) = delete;

  /// The next bytes, valid until the next call; empty at the end. UserError: damaged, cut off, a decompression bomb.
  std::span<const std::byte> next();
  /// The last 512 bytes so far are all there and zero.
  bool ends_in_zeros() const;

 private:
  struct Inflater;
  std::unique_ptr<Inflater> inflater_;
};

[[noreturn]] void refuse_bomb(const std::string& file, std::uint64_t allowed);

}  // namespace microdit::ingest
