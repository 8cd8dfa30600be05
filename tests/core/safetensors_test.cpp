// safetensors: bytes written exactly, and a corpus of files that must be refused for the right reason.
#include "core/safetensors.h"

#include <gmock/gmock.h>

#include <chrono>
#include <cstring>
#include <memory>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/scratch_folder.h"

namespace microdit::core {
namespace {

using testing::HasSubstr;

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xff);
  return bytes + rest;
}
std::string file_of(const std::string& json, std::size_t data_bytes) {
  return with_length(json.size(), json + std::string(data_bytes, 'd'));
}
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape, offsets);
}

/// The refusal of a file with these bytes, without its path; "" when it is accepted.
std::string refusal(const std::string& bytes) {
  ScratchFolder folder;
  const auto path = folder.write("x.safetensors", bytes);
  const std::string message = message_of<UserError>([&] { SafetensorsFile file(path); });
  if (message.empty()) return "";
  const std::string begin = path.string() + ": ";
  EXPECT_TRUE(message.starts_with(begin)) << message;
  return message.substr(begin.size());
}
std::string refusal_of_entries(const std::string& entries, std::size_t data_bytes) {
  return refusal(file_of(fmt::format("{{{}}}", entries), data_bytes));
}

TEST(SafetensorsReader, ChecksOneToFour) {
  EXPECT_THAT(refusal(""), HasSubstr("HeaderTooSmall"));
  EXPECT_THAT(refusal("1234567"), HasSubstr("HeaderTooSmall"));
  EXPECT_THAT(refusal(with_length(0xffffff000000003c, "{}")), HasSubstr("HeaderTooLarge"));
  EXPECT_THAT(refusal(with_length(100'000'001, "{}")), HasSubstr("HeaderTooLarge"));
  EXPECT_THAT(refusal(with_length(100'000'000, "{}")), HasSubstr("InvalidHeaderLength"));
  EXPECT_THAT(refusal(with_length(1000, "")), HasSubstr("InvalidHeaderLength"));
  EXPECT_THAT(refusal(with_length(3, "{}")), HasSubstr("InvalidHeaderLength"));
  EXPECT_THAT(refusal(with_length(1, "\xff")), HasSubstr("InvalidHeader: "));
  for (const char* bad :
       {"\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "\x80", "\xe2\x82"}) {
    EXPECT_THAT(refusal(file_of(fmt::format("{{\"{}\":0}}", bad), 0)), HasSubstr("InvalidHeader: ")) << bad;
  }
}

TEST(SafetensorsReader, CheckFiveJson) {
  for (const char* bad :
       {"{", "", "[]", "3", "null", "\"a\"", "{} {}", "{}x", "{\"a\":3}", "{\"a\":[]}", "{\"a\":null}",
        "{\"a\":{}}", "\xef\xbb\xbf{}", "{\"__metadata__\":{\"a\":{}}}", "{\"__metadata__\":{\"a\":1}}",
        "{\"__metadata__\":\"x\"}", "{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", "{\"\\ud800\":{}}"}) {
    EXPECT_THAT(refusal(file_of(bad, 0)), HasSubstr("InvalidHeaderDeserialization")) << bad;
  }
  EXPECT_THAT(refusal(file_of(std::string("{}\0", 3), 0)), HasSubstr("InvalidHeaderDeserialization"));
  EXPECT_THAT(refusal(file_of(std::string(5000, '['), 0)), HasSubstr("InvalidHeaderDeserialization"));
}

TEST(SafetensorsReader, CheckFiveEntries) {
  const std::string good = entry("a", "F32", "[1]", "[0,4]");
  ASSERT_EQ(refusal_of_entries(good, 4), "");
  const std::pair<std::string, std::size_t> bad[] = {
      {entry("a", "F33", "[1]", "[0,4]"), 4},
      {entry("a", "f32", "[1]", "[0,4]"), 4},
      {entry("a", "F32", "[-1]", "[0,4]"), 4},
      {entry("a", "F32", "[1.0]", "[0,4]"), 4},
      {entry("a", "F32", "[1]", "[-4,0]"), 0},
      {entry("a", "F32", "[1]", "[0]"), 4},
      {entry("a", "F32", "[1]", "[0,4,8]"), 8},
      {entry("a", "F32", "[1]", "[]"), 0},
      {entry("a", "F32", "[[1]]", "[0,4]"), 4},
      {entry("a", "F32", "1", "[0,4]"), 4},
      {entry("a", "F32", "[true]", "[0,4]"), 4},
      {entry("a", "F32", "[1e20]", "[0,4]"), 4},
      {entry("a", "F32", "[18446744073709551616]", "[0,4]"), 4},
      {R"("a":{"shape":[1],"data_offsets":[0,4]})", 4},
      {R"("a":{"dtype":"F32","data_offsets":[0,4]})", 4},
      {R"("a":{"dtype":"F32","shape":[1]})", 4},
      {R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1})", 4},
      {R"("a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})", 4},
      {good + "," + good, 4},
      {good + "," + entry("\\u0061", "F32", "[1]", "[4,8]"), 8},
  };
  for (const auto& [entries, bytes] : bad) {
    EXPECT_THAT(refusal_of_entries(entries, bytes), HasSubstr("InvalidHeaderDeserialization")) << entries;
  }
  EXPECT_THAT(refusal_of_entries(good + "," + good, 4), HasSubstr("duplicate key 'a'"));
}

TEST(SafetensorsReader, CheckSixOffsets) {
  std::string ten;
  for (int i = 0; i < 10; ++i)
    ten += fmt::format("{}{}", i == 0 ? "" : ",", entry(fmt::format("t{}", i), "F32", "[4]", "[0,16]"));
  EXPECT_THAT(refusal_of_entries(ten, 16), HasSubstr("InvalidOffset: tensor 't1'"));
  EXPECT_THAT(refusal_of_entries(entry("a", "U8", "[2]", "[2,4]"), 4), HasSubstr("InvalidOffset"));
  EXPECT_THAT(
      refusal_of_entries(entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[2]", "[3,5]"), 5),
      HasSubstr("InvalidOffset: tensor 'b'"));
  EXPECT_THAT(
      refusal_of_entries(entry("a", "U8", "[0]", "[0,0]") + "," + entry("b", "U8", "[2]", "[0,2]"), 2), "");
  EXPECT_THAT(refusal_of_entries(entry("a", "U8", "[2]", "[0,18446744073709551615]"), 2),
              HasSubstr("TensorInvalidInfo"));
}

TEST(SafetensorsReader, ChecksSevenToTen) {
  for (const char* shape : {"[2,18446744073709551614]", "[2,9223372036854775807]", "[9223372036854775808]",
                            "[4294967296,4294967296,0]"}) {
    EXPECT_THAT(refusal_of_entries(entry("a", "F32", shape, "[0,16]"), 16), HasSubstr("ValidationOverflow"))
        << shape;
  }
  EXPECT_THAT(refusal_of_entries(entry("a", "F4", "[3]", "[0,2]"), 2), HasSubstr("MisalignedSlice"));
  EXPECT_THAT(refusal_of_entries(entry("a", "F32", "[2,2]", "[0,4]"), 4), HasSubstr("TensorInvalidInfo"));
  EXPECT_THAT(refusal_of_entries(entry("a", "F32", "[2,2]", "[0,20]"), 20), HasSubstr("TensorInvalidInfo"));
  const std::string good = entry("a", "F32", "[2,2]", "[0,16]");
  EXPECT_THAT(refusal_of_entries(good, 20), HasSubstr("MetadataIncompleteBuffer"));
  EXPECT_THAT(refusal_of_entries(good, 14), HasSubstr("MetadataIncompleteBuffer"));
  EXPECT_THAT(refusal_of_entries("", 1), HasSubstr("MetadataIncompleteBuffer"));
}

TEST(SafetensorsReader, TypesWeDoNotHaveAreRefusedLast) {
  EXPECT_THAT(refusal_of_entries(entry("a", "F8_E4M3", "[3]", "[0,3]"), 3),
              HasSubstr("tensor 'a' cannot be read: its element type is F8_E4M3"));
  EXPECT_THAT(refusal_of_entries(entry("a", "C64", "[1]", "[0,9]"), 9), HasSubstr("TensorInvalidInfo"));
}

TEST(SafetensorsReader, AcceptsWhatIsLegal) {
  EXPECT_EQ(refusal(file_of("{}", 0)), "");
  EXPECT_EQ(refusal(file_of(" \n{ } \t ", 0)), "");
  EXPECT_EQ(refusal_of_entries(entry("scalar", "F32", "[]", "[0,4]"), 4), "");
  EXPECT_EQ(refusal_of_entries(entry("b", "U8", "[1]", "[4,5]") + "," + entry("a", "F32", "[1]", "[0,4]"), 5),
            "");
  EXPECT_EQ(
      refusal_of_entries(entry("odd", "U8", "[1]", "[0,1]") + "," + entry("x", "F32", "[1]", "[1,5]"), 5),
      "");
  EXPECT_EQ(refusal_of_entries(R"("__metadata__":{"format":"pt"})", 0), "");
}

TEST(SafetensorsReader, ManyOverlappingTensorsEndQuickly) {
  std::string json = "{";
  for (int i = 0; i < 300'000; ++i) {
    json += fmt::format("{}{}", i == 0 ? "" : ",", entry(fmt::format("t{}", i), "U8", "[16]", "[0,16]"));
  }
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(refusal(file_of(json + "}", 16)), HasSubstr("InvalidOffset"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(SafetensorsReader, MissingFileAndFolder) {
  ScratchFolder folder;
  EXPECT_THAT(message_of<UserError>([&] { SafetensorsFile file(folder / "no"); }), HasSubstr("No such file"));
  EXPECT_THAT(message_of<UserError>([&] { SafetensorsFile file(folder.path()); }),
              HasSubstr("not a regular file"));
}

class SafetensorsWriter : public testing::Test {
 protected:
  SafetensorsWriter() {
    for (std::size_t i = 0; i < data_.size(); ++i) data_[i] = static_cast<std::byte>(i + 1);
  }
  TensorView view(const std::string& name, DType dtype, std::vector<std::int64_t> shape, std::size_t begin,
                  std::size_t size) const {
    return {name, dtype, std::move(shape), std::span(data_).subspan(begin, size)};
  }
  std::array<std::byte, 64> data_{};
  ScratchFolder folder_;
};

TEST_F(SafetensorsWriter, WritesTheReferencesBytes) {
  const std::vector<TensorView> tensors{view("b", DType::u8, {3}, 0, 3), view("w", DType::f32, {1, 2}, 8, 8),
                                        view("a", DType::u8, {}, 16, 1), view("h", DType::bf16, {0}, 0, 0),
                                        view("i", DType::i64, {1}, 24, 8)};
  write_safetensors(folder_ / "x", tensors, {{"format", "pt"}, {"a", "\"q\""}});
  const std::string json =
      R"({"__metadata__":{"a":"\"q\"","format":"pt"},)"
      R"("i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},)"
      R"("h":{"dtype":"BF16","shape":[0],"data_offsets":[16,16]},"a":{"dtype":"U8","shape":[],"data_offsets":[16,17]},)"
      R"("b":{"dtype":"U8","shape":[3],"data_offsets":[17,20]}})";
  std::string padded = json;
  padded.resize((json.size() + 7) / 8 * 8, ' ');
  std::string expected = with_length(padded.size(), padded);
  for (auto [begin, size] : {std::pair{24, 8}, {8, 8}, {16, 1}, {0, 3}}) {
    expected.append(reinterpret_cast<const char*>(data_.data()) + begin, static_cast<std::size_t>(size));
  }
  EXPECT_EQ(read_text(folder_ / "x"), expected);
  EXPECT_EQ(folder_.names(), std::set<std::string>{"x"});
}

TEST_F(SafetensorsWriter, ReadsBackWhatWasWritten) {
  const std::vector<TensorView> tensors{view("w", DType::f16, {2, 3}, 0, 12),
                                        view("v", DType::i32, {2}, 20, 8)};
  write_safetensors(folder_ / "x", tensors, {{"k", "é"}});
  SafetensorsFile first(folder_ / "x");
  const SafetensorsFile file(std::move(first));
  EXPECT_EQ(file.metadata().at("k"), "é");
  EXPECT_EQ(file.tensors().at("w").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file.tensors().at("w").dtype, DType::f16);
  std::array<std::byte, 12> whole{};
  file.read("w", whole);
  EXPECT_TRUE(std::equal(whole.begin(), whole.end(), data_.begin()));
  std::array<std::byte, 3> part{};
  file.read_range("v", 5, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), data_.begin() + 25));
  EXPECT_THAT(message_of<UserError>([&] { file.read("u", part); }), HasSubstr("'u'"));
  EXPECT_THROW(file.read("w", part), std::logic_error);
  EXPECT_THROW(file.read_range("v", 6, part), std::logic_error);
}

TEST_F(SafetensorsWriter, AFileCutWhileOpenIsASystemError) {
  write_safetensors(folder_ / "x", std::vector<TensorView>{view("w", DType::u8, {16}, 0, 16)});
  const SafetensorsFile file(folder_ / "x");
  std::filesystem::resize_file(folder_ / "x", file.tensors().at("w").offset + 4);
  std::array<std::byte, 16> out{};
  EXPECT_THROW(file.read("w", out), SystemError);
}

TEST_F(SafetensorsWriter, RefusesWhatIsOurMistake) {
  const auto write = [&](std::vector<TensorView> tensors) { write_safetensors(folder_ / "x", tensors); };
  EXPECT_THROW(write({view("a", DType::u8, {1}, 0, 1), view("a", DType::u8, {1}, 0, 1)}), std::logic_error);
  EXPECT_THROW(write({view("__metadata__", DType::u8, {1}, 0, 1)}), std::logic_error);
  EXPECT_THROW(write({view("a", DType::f32, {2}, 0, 7)}), std::logic_error);
  EXPECT_TRUE(folder_.names().empty());
}

}  // namespace
}  // namespace microdit::core
