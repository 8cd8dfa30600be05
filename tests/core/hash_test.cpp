// Published digests, and streaming equal to one call.
#include "core/hash.h"

#include <gmock/gmock.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "core/error.h"
#include "core/scratch_folder.h"

namespace microdit::core {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string counting(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 % 251);
  return text;
}

TEST(Hash, Sha256KnownAnswers) {  // FIPS 180-2, appendix B
  EXPECT_EQ(sha256({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256(bytes_of("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 million;
  for (int i = 0; i < 1000; ++i) million.update(bytes_of(std::string(1000, 'a')));
  EXPECT_EQ(million.hex_digest(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Hash, Sha256OfAFile) {
  ScratchFolder folder;
  const std::string text = counting(3'000'001);
  EXPECT_EQ(sha256_file(folder.write("a", text)), sha256(bytes_of(text)));
  EXPECT_THAT(message_of<UserError>([&] { sha256_file(folder / "missing"); }), testing::HasSubstr("missing"));
  EXPECT_THAT(message_of<UserError>([&] { sha256_file(folder.path()); }),
              testing::HasSubstr("Is a directory"));
  StopFlag stop;
  EXPECT_EQ(sha256_file(folder / "a", stop), sha256(bytes_of(text)));
  stop.request();
  EXPECT_FALSE(sha256_file(folder / "a", stop));
}

TEST(Hash, Xxh3KnownAnswers) {
  EXPECT_EQ(xxh3_64({}), 0x2d06800538d394c2u);
  EXPECT_EQ(hex(xxh3_64({})), "2d06800538d394c2");
  EXPECT_EQ(hex(0x1f), "000000000000001f");
  EXPECT_EQ(from_hex("2d06800538d394c2"), 0x2d06800538d394c2);
  for (const char* other :
       {"", "1f", "000000000000001F", "000000000000001g", "0x0000000000001f", "0000000000000001f"})
    EXPECT_FALSE(from_hex(other)) << other;
}

#ifdef __x86_64__
__attribute__((target("xsave"))) std::uint64_t registers_in_use() {
  return __builtin_ia32_xgetbv(1);
}

TEST(Hash, Xxh3LeavesNoUpperVectorsInUse) {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__builtin_cpu_supports("avx2") || __get_cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx) == 0 ||
      (eax & 4) == 0)
    GTEST_SKIP() << "this processor does not tell";
  constexpr std::uint64_t kUpper = 4;  // halves of the 256-bit registers
  const std::string text = counting(4096);
  xxh3_64(bytes_of(text));
  EXPECT_EQ(registers_in_use() & kUpper, 0U);
  Xxh3 sum;
  sum.update(bytes_of(text));
  EXPECT_EQ(registers_in_use() & kUpper, 0U);
  sum.digest();
  EXPECT_EQ(registers_in_use() & kUpper, 0U);
}
#endif

TEST(Hash, Xxh3StreamsInAnyPieces) {
  const std::string text = counting(100'000);
  for (std::size_t piece : {1u, 7u, 256u, 1000u, 99'999u}) {
    Xxh3 sum;
    for (std::size_t at = 0; at < text.size(); at += piece) sum.update(bytes_of(text.substr(at, piece)));
    EXPECT_EQ(sum.digest(), xxh3_64(bytes_of(text)));
  }
  EXPECT_EQ(Xxh3().digest(), xxh3_64({}));
  EXPECT_NE(xxh3_64(bytes_of(text)), xxh3_64(bytes_of(text.substr(1))));
}

}  // namespace
}  // namespace microdit::core
