// OpenSSL's digests and xxhash's behind one name.
#include "core/named_hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <array>
#include <variant>

#include "core/error.h"

namespace microdit::core {
namespace {

struct FreeDigest {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
struct Xxh32 {
  XXH32_state_t* state = XXH32_createState();
};
struct Xxh64 {
  XXH64_state_t* state = XXH64_createState();
};
struct Xxh3Of {
  int bits = 64;
  XXH3_state_t* state = XXH3_createState();
};

constexpr std::array<std::pair<std::string_view, const char*>, 13> kDigests = {{
    {"md5", "MD5"},
    {"sha1", "SHA1"},
    {"sha224", "SHA224"},
    {"sha256", "SHA256"},
    {"sha384", "SHA384"},
    {"sha512", "SHA512"},
    {"sha3_224", "SHA3-224"},
    {"sha3_256", "SHA3-256"},
    {"sha3_384", "SHA3-384"},
    {"sha3_512", "SHA3-512"},
    {"blake2b", "BLAKE2B512"},
    {"blake2s", "BLAKE2S256"},
    {"ripemd160", "RIPEMD160"},
}};

const char* openssl_name(std::string_view name) {
  for (const auto& [known, openssl] : kDigests)
    if (known == name) return openssl;
  return nullptr;
}

std::string hex_of(std::span<const unsigned char> bytes) {
  std::string text;
  for (const unsigned char byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

struct NamedHash::State {
  std::variant<std::unique_ptr<EVP_MD_CTX, FreeDigest>, Xxh32, Xxh64, Xxh3Of> of;

  explicit State(std::string_view name) {
    bool started = false;
    if (const char* openssl = openssl_name(name)) {
      std::unique_ptr<EVP_MD_CTX, FreeDigest> context(EVP_MD_CTX_new());
      const EVP_MD* kind = EVP_get_digestbyname(openssl);
      started = context && kind && EVP_DigestInit_ex(context.get(), kind, nullptr) == 1;
      of = std::move(context);
    } else if (name == "xxh32") {
      started = XXH32_reset(of.emplace<Xxh32>().state, 0) == XXH_OK;
    } else if (name == "xxh64") {
      started = XXH64_reset(of.emplace<Xxh64>().state, 0) == XXH_OK;
    } else {
      const int bits = name == "xxh3_64" ? 64 : 128;
      Xxh3Of& sum = of.emplace<Xxh3Of>();
      sum.bits = bits;
      started = (bits == 64 ? XXH3_64bits_reset(sum.state) : XXH3_128bits_reset(sum.state)) == XXH_OK;
    }
    if (!started) system_error("the hash `{}` cannot be computed with this machine's OpenSSL", name);
  }
  State(const State&) = delete;

  ~State() {
    if (const auto* sum = std::get_if<Xxh32>(&of)) XXH32_freeState(sum->state);
    if (const auto* sum = std::get_if<Xxh64>(&of)) XXH64_freeState(sum->state);
    if (const auto* sum = std::get_if<Xxh3Of>(&of)) XXH3_freeState(sum->state);
  }
};

bool NamedHash::known(std::string_view name) {
  return openssl_name(name) != nullptr || name == "xxh32" || name == "xxh64" || name == "xxh3_64" ||
         name == "xxh3_128" || name == "xxh128";
}

NamedHash::NamedHash(std::string_view name) {
  if (!known(name)) user_error("`{}` is not a hash that is known here", name);
  state_ = std::make_unique<State>(name);
}
NamedHash::~NamedHash() = default;
NamedHash::NamedHash(NamedHash&&) noexcept = default;

void NamedHash::update(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  bool done = false;
  if (auto* context = std::get_if<0>(&state_->of))
    done = EVP_DigestUpdate(context->get(), bytes.data(), bytes.size()) == 1;
  else if (auto* sum = std::get_if<Xxh32>(&state_->of))
    done = XXH32_update(sum->state, bytes.data(), bytes.size()) == XXH_OK;
  else if (auto* wide = std::get_if<Xxh64>(&state_->of))
    done = XXH64_update(wide->state, bytes.data(), bytes.size()) == XXH_OK;
  else if (auto* third = std::get_if<Xxh3Of>(&state_->of))
    done = (third->bits == 64 ? XXH3_64bits_update(third->state, bytes.data(), bytes.size())
                              : XXH3_128bits_update(third->state, bytes.data(), bytes.size())) == XXH_OK;
  check(done, "a hash did not take its bytes");
}

std::string NamedHash::hex_digest() {
  if (auto* context = std::get_if<0>(&state_->of)) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int length = 0;
    check(EVP_DigestFinal_ex(context->get(), digest.data(), &length) == 1, "a digest failed");
    return hex_of(std::span(digest).first(length));
  }
  if (const auto* sum = std::get_if<Xxh32>(&state_->of))
    return fmt::format("{:08x}", XXH32_digest(sum->state));
  if (const auto* sum = std::get_if<Xxh64>(&state_->of))
    return fmt::format("{:016x}", XXH64_digest(sum->state));
  const auto& sum = std::get<Xxh3Of>(state_->of);
  if (sum.bits == 64) return fmt::format("{:016x}", XXH3_64bits_digest(sum.state));
  const XXH128_hash_t wide = XXH3_128bits_digest(sum.state);
  return fmt::format("{:016x}{:016x}", wide.high64, wide.low64);
}

}  // namespace microdit::core
