// Pixels and classes out of CIFAR's batches and idx files; what is no whole one is refused.
#include "ingest/labelled.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "image/decode.h"

namespace microdit::ingest {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kMost = 1000;

Member member_of(const std::string& name, const std::vector<int>& values) {
  Member member{.name = name, .bytes = {}, .skip = {}};
  for (const int value : values) member.bytes.push_back(static_cast<std::byte>(value));
  return member;
}

std::vector<int> idx(std::initializer_list<int> sizes, std::size_t values) {
  std::vector<int> bytes = {0, 0, 8, static_cast<int>(sizes.size())};
  for (const int size : sizes) bytes.insert(bytes.end(), {0, 0, size >> 8, size & 0xff});
  for (std::size_t i = 0; i < values; ++i) bytes.push_back(static_cast<int>(i % 256));
  return bytes;
}

std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const core::UserError& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(Labelled, CifarsPlanesBecomePictures) {
  std::vector<int> bytes;
  for (int record = 0; record < 2; ++record) {
    bytes.push_back(record + 3);
    for (int i = 0; i < 3 * 1024; ++i) bytes.push_back((i / 1024) * 80 + i % 64);
  }
  std::vector<RawRecord> records;
  cifar_records(member_of("a/data_batch_1.bin", bytes),
                [&](RawRecord&& raw) { records.push_back(std::move(raw)); });
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].key, "a/data_batch_1/00000001");
  EXPECT_EQ(std::get<std::int64_t>(records[1].cells.at("class")), 4);
  const image::Image picture = image::decode(records[0].members.at("picture").bytes);
  EXPECT_EQ(picture.width, 32);
  EXPECT_EQ(picture.row(1)[3 * 5], (32 + 5) % 64);
  EXPECT_EQ(picture.row(1)[3 * 5 + 2], 160 + (32 + 5) % 64);
  const auto none = [](RawRecord&&) {};
  bytes.pop_back();
  EXPECT_THAT(refusal([&] { cifar_records(member_of("b.bin", bytes), none); }),
              HasSubstr("b.bin: 6145 bytes"));
  EXPECT_THAT(refusal([&] { cifar_records(member_of("b.bin", {}), none); }), HasSubstr("no whole records"));
}

TEST(Labelled, IdxFilesComeInPairs) {
  EXPECT_EQ(idx_labels_of("train-images-idx3-ubyte.gz"), "train-labels-idx1-ubyte.gz");
  EXPECT_EQ(idx_labels_of("train-labels-idx1-ubyte.gz"), "");
  std::vector<RawRecord> records;
  const auto take = [&](RawRecord&& raw) { records.push_back(std::move(raw)); };
  const Member labels = member_of("t-labels-idx1-ubyte", idx({2}, 2));
  idx_records(member_of("t-images-idx3-ubyte", idx({2, 3, 5}, 30)), labels, kMost, take);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].key, "t-images-idx3-ubyte/00000001");
  const image::Image picture = image::decode(records[1].members.at("picture").bytes);
  EXPECT_EQ(picture.width, 5);
  EXPECT_EQ(picture.height, 3);
  EXPECT_EQ(picture.row(2)[3 * 4 + 1], 29);
  EXPECT_THAT(refusal([&] {
                idx_records(member_of("p", idx({3, 3, 5}, 45)), labels, kMost, take);
              }),
              HasSubstr("p: 3 pictures, but t-labels-idx1-ubyte has 2 labels"));
}

TEST(Labelled, HostileIdxFilesAreRefused) {
  const Member labels = member_of("l", idx({2}, 2));
  const auto refused = [&](const std::vector<int>& bytes) {
    return refusal([&] { idx_records(member_of("p", bytes), labels, kMost, [](RawRecord&&) {}); });
  };
  EXPECT_THAT(refusal([&] {
                idx_records(member_of("p", idx({2, 3, 5}, 30)), labels, 1, [](RawRecord&&) {});
              }),
              HasSubstr("p: 2 pictures, but files of their size may hold 1"));
  EXPECT_THAT(refused({}), HasSubstr("too short"));
  EXPECT_THAT(refused(idx({2, 3}, 6)), HasSubstr("another head"));
  std::vector<int> large = idx({2, 3, 5}, 30);
  for (std::size_t i = 4; i < 16; ++i) large[i] = 0xff;  // 2^32 - 1 in each dimension
  EXPECT_THAT(refused(large), HasSubstr("beyond its bytes"));
  EXPECT_THAT(refused(idx({2, 3, 5}, 29)), HasSubstr("another number of bytes"));
  EXPECT_THAT(refused(idx({2, 0, 5}, 0)), HasSubstr("beyond its bytes"));
  std::vector<int> floats = idx({2, 3, 5}, 30);
  floats[2] = 0x0d;
  EXPECT_THAT(refused(floats), HasSubstr("another head"));
}

}  // namespace
}  // namespace microdit::ingest
