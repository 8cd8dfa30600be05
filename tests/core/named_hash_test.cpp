// Values as Python's hashlib and xxhash print them.
#include "core/named_hash.h"

#include <gmock/gmock.h>

#include "core/error.h"

namespace microdit::core {
namespace {

std::string of(std::string_view name, std::string_view text) {
  NamedHash sum(name);
  const auto bytes = std::as_bytes(std::span(text));
  sum.update(bytes.first(1));
  sum.update(bytes.subspan(1));
  return sum.hex_digest();
}

TEST(NamedHash, ValuesArePythons) {
  EXPECT_EQ(of("md5", "picture"), "5456fc54c74a297ce994998c2873b370");
  EXPECT_EQ(of("sha1", "picture"), "0e66b49d04a43c19bcb2e13a53aff5d174f610fc");
  EXPECT_EQ(of("sha224", "picture"), "eb84386c60578441750ae4aef5dc56a2344f87d52091b4640b19c198");
  EXPECT_EQ(of("sha256", "picture"), "2cea274d0bedc39ec4ab6ba9e59ec889e3ed6fb56a1cf088a64d9b383378dc97");
  EXPECT_EQ(
      of("sha384", "picture"),
      "07bd20a2899b9e63b7ddfc9aedaf0a30ac3863319c44ede44808a30689bdf89d79813373ab5184b6cf3bcd7c1b8bb950");
  EXPECT_EQ(of("sha512", "picture"),
            "1a64766100a7f72f28833def9a5bc3ed2dca800bcd8e17429b3441d66312080d5c3609fb8467d8e45dc633208c2ccc97"
            "54d008389a57be3d8b0707c84d1b8cd6");
  EXPECT_EQ(of("sha3_224", "picture"), "63cb8cc0094ebbde652501d45e2e4877b3da3bb578eef651d9f298cd");
  EXPECT_EQ(of("sha3_256", "picture"), "2c2404594cd319dcc37c90d06e7a68e60866fd1076dc3d9f23192596b61af532");
  EXPECT_EQ(
      of("sha3_384", "picture"),
      "b4083aeea90f098c7549127c929d9593465434c7e759893620be4880b7e1307988ce8a418d45ca69587e6f2feaf0eccc");
  EXPECT_EQ(of("sha3_512", "picture"),
            "659a0e79460587c107fae8bd01af90a27c2325d7f45606ce40be8c770dbc5e7257e2eb922c27c5616ccf59c6b8d9128c"
            "8a42d65a16c416f55800cb591ce4c695");
  EXPECT_EQ(of("blake2b", "picture"),
            "fd770b6a2ba3be0a8802fe9e9b6cdbf2f5645023536fe2a71cf1fadb1db41a0bf0c5aa7db606bf6f6bd9129f4417c6b0"
            "8c9930d44c869fe7bf53954b4113828c");
  EXPECT_EQ(of("blake2s", "picture"), "b6f9698bdd034705ed927cbf61c3c4d378f300eacba0508c94cdfcfe6e1f98a8");
  EXPECT_EQ(of("ripemd160", "picture"), "68c1e79e87e3bd4735257730457bf9fd1f378aa2");
  EXPECT_EQ(of("xxh32", "picture"), "227871ed");
  EXPECT_EQ(of("xxh64", "picture"), "e026237ee3f7c27c");
  EXPECT_EQ(of("xxh3_64", "picture"), "a6521ffc44ed79a1");
  EXPECT_EQ(of("xxh3_128", "picture"), "f10ee37f782f1832f8dc3484579cfb8d");
  EXPECT_EQ(of("xxh128", "picture"), "f10ee37f782f1832f8dc3484579cfb8d");
}

TEST(NamedHash, AnUnknownNameIsRefused) {
  EXPECT_FALSE(NamedHash::known("crc32"));
  EXPECT_THROW(NamedHash("crc32"), UserError);
}

}  // namespace
}  // namespace microdit::core
