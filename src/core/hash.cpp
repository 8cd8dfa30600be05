// XXH3-64 by xxhash, SHA-256 by OpenSSL.
#include "core/hash.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>
#include <xxhash.h>
#if defined(__x86_64__) && !defined(MICRODIT_STATIC) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>  // the same functions by the widest vectors of this processor, chosen when they run
#endif

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/upper_vectors.h"

namespace microdit::core {

std::uint64_t xxh3_64(std::span<const std::byte> bytes) {
  const std::uint64_t sum = XXH3_64bits(bytes.data(), bytes.size());
  release_upper_vectors();
  return sum;
}

std::string hex(std::uint64_t value) {
  return fmt::format("{:016x}", value);
}

std::optional<std::uint64_t> from_hex(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (hex(value) != text) return std::nullopt;
  return value;
}

struct Xxh3::State {
  XXH3_state_t* handle = XXH3_createState();  // xxhash aligns it
  ~State() { XXH3_freeState(handle); }
};

Xxh3::Xxh3() : state_(std::make_unique<State>()) {
  check(state_->handle != nullptr && XXH3_64bits_reset(state_->handle) == XXH_OK, "xxhash did not start");
}
Xxh3::~Xxh3() = default;

void Xxh3::update(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;  // some releases refuse a null pointer
  const auto result = XXH3_64bits_update(state_->handle, bytes.data(), bytes.size());
  release_upper_vectors();
  check(result == XXH_OK, "xxhash update failed");
}

std::uint64_t Xxh3::digest() const {
  const std::uint64_t sum = XXH3_64bits_digest(state_->handle);
  release_upper_vectors();
  return sum;
}

struct Sha256::State {
  EVP_MD_CTX* handle = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(handle); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  check(state_->handle != nullptr && EVP_DigestInit_ex(state_->handle, EVP_sha256(), nullptr) == 1,
        "OpenSSL did not start SHA-256");
}
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  check(EVP_DigestUpdate(state_->handle, bytes.data(), bytes.size()) == 1, "SHA-256 update failed");
}

std::string Sha256::hex_digest() {
  std::array<unsigned char, 32> digest{};
  unsigned int length = 0;
  check(EVP_DigestFinal_ex(state_->handle, digest.data(), &length) == 1 && length == digest.size(),
        "SHA-256 digest failed");
  std::string text;
  for (unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 sum;
  sum.update(bytes);
  return sum.hex_digest();
}

std::string sha256_file(const std::filesystem::path& path) {
  return *sha256_file(path, StopFlag());
}

std::optional<std::string> sha256_file(const std::filesystem::path& path, const StopFlag& stop) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) input_error(errno, "{}: cannot be opened", path.string());
  Sha256 sum;
  std::vector<std::byte> buffer(1u << 20);
  ssize_t got = 0;
  while (!stop.requested() && (got = ::read(fd, buffer.data(), buffer.size())) != 0) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      ::close(fd);
      input_error(error, "{}: cannot be read", path.string());
    }
    sum.update(std::span(buffer).first(static_cast<std::size_t>(got)));
  }
  ::close(fd);
  if (stop.requested()) return std::nullopt;
  return sum.hex_digest();
}

}  // namespace microdit::core
