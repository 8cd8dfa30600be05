// The one door for weights: views are packed, shared elements are named, what is no file of weights is named, too. Files that
// torch itself wrote, and hostile ones, go through the program in tests/jobs/torch_files_test.py.
#include "core/weights_file.h"

#include <gmock/gmock.h>

#include <cstring>
#include <numeric>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/scratch_folder.h"
#include "core/torch_writer.h"

namespace microdit::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string little(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}
std::string text(const std::string& value) {
  return "X" + little(value.size(), 4) + value;
}
std::string tuple(const std::vector<int>& values) {
  std::string out = "(";
  for (const int value : values) out += "K" + std::string(1, static_cast<char>(value));
  return out + "t";
}
/// A tensor over the storage "0" of 24 floats.
std::string tensor(const std::vector<int>& shape, const std::vector<int>& strides, int offset) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" + text("0") +
         text("cpu") + "K\x18tQK" + std::string(1, static_cast<char>(offset)) + tuple(shape) +
         tuple(strides) + "\x89}tR";
}

/// A legacy file, which needs no checksums: the magic, the protocol, the system, the object, the keys, the storage.
std::string legacy(const std::string& members) {
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), 0.0f);
  return std::string(
             "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02}"
             "(") +
         members + "u.\x80\x02]" + text("0") + "a." + little(24, 8) +
         std::string(reinterpret_cast<const char*>(values.data()), 96);
}

class Weights : public testing::Test {
 protected:
  std::vector<float> values(const WeightsFile& file, const std::string& name) {
    std::vector<float> out(file.info(name).bytes / 4);
    file.read(name, std::as_writable_bytes(std::span(out)));
    return out;
  }
  std::string refusal(const std::string& bytes) {
    const auto path = folder_.write("x.pt", bytes);
    return message_of<UserError>([&] { WeightsFile file(path); });
  }
  ScratchFolder folder_;
};

TEST_F(Weights, ViewsArePacked) {
  const WeightsFile file(folder_.write(
      "x.pt",
      legacy(text("rows") + tensor({2, 3}, {3, 1}, 6) + text("transposed") + tensor({3, 2}, {1, 3}, 0) +
             text("steps") + tensor({2, 2}, {12, 5}, 1) + text("expanded") + tensor({2, 2}, {0, 1}, 4) +
             text("scalar") + tensor({}, {}, 23) + text("none") + tensor({0, 3}, {3, 1}, 0))));
  EXPECT_THAT(values(file, "rows"), ElementsAre(6, 7, 8, 9, 10, 11));
  EXPECT_THAT(values(file, "transposed"), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_THAT(values(file, "steps"), ElementsAre(1, 6, 13, 18));
  EXPECT_THAT(values(file, "expanded"), ElementsAre(4, 5, 4, 5));
  EXPECT_THAT(values(file, "scalar"), ElementsAre(23));
  EXPECT_THAT(values(file, "none"), ElementsAre());
  EXPECT_THAT(file.info("none").shape, ElementsAre(0, 3));
  EXPECT_TRUE(file.aliases().empty());
  std::vector<float> two(2);
  file.read_range("transposed", 8, std::as_writable_bytes(std::span(two)));
  EXPECT_THAT(two, ElementsAre(1, 4));
}

TEST_F(Weights, SameElementsAreOneTensorUnderTwoNames) {
  const WeightsFile file(
      folder_.write("x.pt", legacy(text("b") + tensor({4}, {1}, 2) + text("a") + tensor({4}, {1}, 2) +
                                   text("c") + tensor({2, 2}, {2, 1}, 2))));
  EXPECT_THAT(file.aliases(), ElementsAre(testing::Pair("a", "b")));
  EXPECT_EQ(values(file, "a"), values(file, "b"));
}

TEST_F(Weights, WhatLiesInAnObjectIsNamedAndNotRead) {
  const WeightsFile file(folder_.write("x.pt", legacy(text("w") + tensor({4}, {1}, 0) + text("x") +
                                                      "cos\nsystem\n(" + tensor({4}, {1}, 0) + "tR")));
  EXPECT_EQ(file.tensors().size(), 1u);
  EXPECT_THAT(file.unreadable().at("x"), HasSubstr("os system"));
  EXPECT_THAT(message_of<UserError>([&] { file.info("x"); }), HasSubstr("os system"));
  EXPECT_THAT(message_of<UserError>([&] { file.info("y"); }), HasSubstr("no tensor 'y'"));
}

TEST_F(Weights, BeyondTheStorageIsRefused) {
  EXPECT_EQ(refusal(legacy(text("w") + tensor({24}, {1}, 0))), "");
  EXPECT_THAT(refusal(legacy(text("w") + tensor({24}, {1}, 1))), HasSubstr("tensor 'w'"));
  EXPECT_THAT(refusal(legacy(text("w") + tensor({2, 2}, {23, 1}, 0))), HasSubstr("tensor 'w'"));
  EXPECT_EQ(refusal(legacy(text("w") + tensor({2, 2}, {22, 1}, 0))), "");
}

TEST_F(Weights, KindsAreNamed) {
  for (const auto& [begin, word] : {std::pair("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
                                    {"  <!DOCTYPE html>", "web page"},
                                    {"GGUFxxxxxx", "GGUF"},
                                    {"", "empty"},
                                    {"PK\3\4xxxxxxxxxx", "cut short"},
                                    {"\x80\2}.", "none of torch.save"}})
    EXPECT_THAT(refusal(begin), HasSubstr(word)) << begin;
  std::filesystem::create_directories(folder_ / "pipeline/vae");
  folder_.write("pipeline/model_index.json", "{}");
  folder_.write("pipeline/vae/config.json", "{}");
  EXPECT_THAT(message_of<UserError>([&] { WeightsFile file(folder_ / "pipeline"); }),
              HasSubstr("diffusers pipeline"));
}

TEST_F(Weights, WrittenFilesReadBackInBothFormats) {
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> bytes;
  for (int i = 0; i <= static_cast<int>(DType::u64); ++i) {
    const auto dtype = static_cast<DType>(i);
    const std::string name = std::string(name_of(dtype));
    tensors[name] = {dtype, {2, 3}, 0, 6 * size_of(dtype)};
    for (std::size_t j = 0; j < tensors[name].bytes; ++j) bytes[name] += static_cast<char>(j % 2);
  }
  tensors["none"] = {DType::f32, {0, 4}, 0, 0};
  tensors["scalar"] = {DType::f32, {}, 0, 4};
  bytes["scalar"] = "abcd";
  const auto source = [&](const std::string& name, std::span<std::byte> out) {
    std::memcpy(out.data(), bytes[name].data(), out.size());
  };
  write_torch_file(folder_ / "a.pt", tensors, source, {{"again", "F32"}});
  write_safetensors(folder_ / "b.safetensors", tensors, source, {{"again", "F32"}, {"format", "pt"}});
  for (const char* name : {"a.pt", "b.safetensors"}) {
    const WeightsFile file(folder_ / name);
    EXPECT_THAT(file.aliases(), ElementsAre(testing::Pair("again", "F32"))) << name;
    EXPECT_EQ(file.tensors().size(), tensors.size() + 1);
    for (const auto& [tensor, info] : tensors) {
      EXPECT_EQ(file.info(tensor).dtype, info.dtype);
      EXPECT_EQ(file.info(tensor).shape, info.shape);
      std::string read(info.bytes, ' ');
      file.read(tensor, std::as_writable_bytes(std::span(read)));
      EXPECT_EQ(read, bytes[tensor]) << tensor;
    }
  }
  EXPECT_THAT(folder_.names(), ElementsAre("a.pt", "b.safetensors"));
}

TEST_F(Weights, AForeignTypeConcernsItsOwnTensorAlone) {
  const std::string header =
      R"({"__metadata__":{"also":"scaled","tied":"w"},"scaled":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[4,8]},)"
      R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  const float one = 1;
  const WeightsFile file(folder_.write(
      "x.safetensors",
      little(header.size(), 8) + header + std::string(reinterpret_cast<const char*>(&one), 4) + "1234"));
  EXPECT_THAT(values(file, "w"), ElementsAre(1));
  EXPECT_THAT(values(file, "tied"), ElementsAre(1));
  for (const char* name : {"scaled", "also"})
    EXPECT_THAT(message_of<UserError>([&] { file.info(name); }),
                HasSubstr(fmt::format("tensor '{}' cannot be read: its element type is F8_E4M3", name)));
}

TEST_F(Weights, AFlippedBitIsSeen) {
  const std::map<std::string, TensorInfo> tensors{{"w", {DType::u8, {9}, 0, 9}}};
  write_torch_file(folder_ / "a.pt", tensors, [](const std::string&, std::span<std::byte> out) {
    std::memcpy(out.data(), "123456789", out.size());
  });
  std::string file = read_text(folder_ / "a.pt");
  const std::size_t at = file.find("123456789");
  EXPECT_EQ(at % 64, 0u);
  file[at + 3] ^= 1;
  folder_.write("a.pt", file);
  const WeightsFile damaged(folder_ / "a.pt");
  std::string out(9, ' ');
  EXPECT_THAT(message_of<UserError>([&] { damaged.read("w", std::as_writable_bytes(std::span(out))); }),
              HasSubstr("'w' is damaged"));
}

}  // namespace
}  // namespace microdit::core
