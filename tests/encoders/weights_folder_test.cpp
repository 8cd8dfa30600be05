// Which tensors of a folder are read, which are not looked at, and what is refused before anything is allocated.
#include "encoders/weights_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "core/error.h"
#include "encoders/temporary_folder.h"

namespace microdit::encoders {
namespace {

using testing::HasSubstr;

/// "w", four floats, and "other" of a type and a number of bytes.
std::string safetensors(const std::string& type, const std::string& name = "other") {
  const std::string header = R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},")" + name +
                             R"(":{"dtype":")" + type + R"(","shape":[16],"data_offsets":[16,32]}})";
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(header.size() >> (8 * i) & 0xff);
  const float values[4] = {1, 2, 3, 4};
  return file + header + std::string(reinterpret_cast<const char*>(values), 16) + std::string(16, '\x01');
}

class WeightsFolder : public testing::Test {
 protected:
  void write(const std::string& bytes) { write_file(folder() / "model.safetensors", bytes); }
  const std::filesystem::path& folder() const { return place_.path(); }
  static std::string itself(std::string_view name) { return std::string(name); }
  static std::string only_w(std::string_view name) { return name == "w" ? "w" : ""; }
  TemporaryFolder place_;
};

TEST_F(WeightsFolder, ATensorOfAForeignTypeThatNobodyNeedsIsNotLookedAt) {
  for (const char* type : {"F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "BOOL"}) {
    write(safetensors(type));
    const Slots slots{{"w", torch::zeros({4})}};
    load_folder_weights(folder(), "model", slots, only_w);
    EXPECT_TRUE(torch::equal(slots.at("w"), torch::tensor({1.0f, 2.0f, 3.0f, 4.0f}))) << type;
  }
}

TEST_F(WeightsFolder, ANeededTensorOfAForeignTypeIsRefusedByNameAndType) {
  const Slots slots{{"w", torch::zeros({4})}, {"other", torch::zeros({16})}};
  for (const char* type : {"F8_E4M3", "I8", "BOOL"}) {
    write(safetensors(type));
    const std::string said =
        message_of<core::UserError>([&] { load_folder_weights(folder(), "model", slots, itself); });
    EXPECT_THAT(said, testing::AllOf(HasSubstr("model.safetensors: tensor 'other'"), HasSubstr(type),
                                     HasSubstr("BF16")));
  }
}

TEST_F(WeightsFolder, ShapesAreCheckedWithoutMemoryForThem) {
  write(safetensors("U8"));
  const auto meta = torch::TensorOptions().device(torch::kMeta);
  check_folder_weights(folder(), "model", {{"w", torch::empty({4}, meta)}}, only_w);
  const std::string said = message_of<core::UserError>([&] {
    check_folder_weights(folder(), "model", {{"w", torch::empty({1 << 20, 1 << 20, 64}, meta)}}, only_w);
  });
  EXPECT_THAT(said, HasSubstr("w is [4] and must be [1048576, 1048576, 64]"));
}

TEST_F(WeightsFolder, ALinkThatLeadsNowhereIsNamed) {
  std::filesystem::create_symlink("../../blobs/0123", folder() / "model.safetensors");
  EXPECT_THAT(message_of<core::UserError>([&] { check_folder_weights(folder(), "model", {}, only_w); }),
              HasSubstr("model.safetensors: is a link to ../../blobs/0123, which is not there"));
}

}  // namespace
}  // namespace microdit::encoders
