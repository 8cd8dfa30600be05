// Checksums by the name that a foreign format gives them: "sha256", "xxh64" ...
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace microdit::core {

class NamedHash {
 public:
  /// Names as Python's hashlib and xxhash spell them. UserError for one that is not known (`known`).
  explicit NamedHash(std::string_view name);
  ~NamedHash();
  NamedHash(NamedHash&&) noexcept;

  /// sha1, sha2 and sha3 of all lengths, md5, blake2b, blake2s, xxh32, xxh64, xxh3_64, xxh3_128 (xxh128).
  static bool known(std::string_view name);

  void update(std::span<const std::byte> bytes);
  /// Lower-case hex digits; call once.
  std::string hex_digest();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace microdit::core
