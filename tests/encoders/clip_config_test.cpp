// What a CLIP folder's config.json may say, and what is refused before anything is read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/json.h"
#include "encoders/temporary_folder.h"
#include "encoders/text_encoder.h"

namespace microdit::encoders {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string refusal(const core::Json& config) {
  const TemporaryFolder folder;
  core::write_json(folder.path() / "config.json", config);
  return message_of<core::UserError>([&] { describe_text_encoder(folder.path()); });
}

TEST(ClipConfig, TwoDescriptionsOfTheTextTowerMustAgree) {
  core::Json config = {
      {"model_type", "clip"},
      {"text_config", {{"hidden_size", 64}, {"num_attention_heads", 4}, {"hidden_act", "quick_gelu"}}},
      {"text_config_dict", {{"hidden_size", 64}, {"num_attention_heads", 4}, {"hidden_act", "gelu"}}}};
  EXPECT_THAT(refusal(config), HasSubstr("text_config and text_config_dict describe two networks"));
  config["text_config_dict"]["hidden_act"] = "quick_gelu";  // then the files that are not there are missed
  EXPECT_THAT(refusal(config), Not(HasSubstr("text_config_dict")));
  config["text_config_dict"] = nullptr;
  EXPECT_THAT(refusal(config), Not(HasSubstr("text_config_dict")));
}

TEST(ClipConfig, NumbersBeyondTheirTypeAreNamed) {
  for (const char* key : {"hidden_size", "max_position_embeddings"}) {
    const core::Json config = {{"model_type", "clip"}, {"text_config", {{key, std::uint64_t{1} << 63}}}};
    EXPECT_THAT(refusal(config), AllOf(HasSubstr("config.json"), HasSubstr(key)));
  }
}

TEST(ClipConfig, AConfigOfHundredsOfMegabytesIsNone) {
  const TemporaryFolder folder;
  write_file(folder.path() / "config.json", "{\"a\": \"" + std::string(5 << 20, 'x') + "\"}");
  EXPECT_THAT(message_of<core::UserError>([&] { describe_text_encoder(folder.path()); }),
              HasSubstr("no network's config"));
}

}  // namespace
}  // namespace microdit::encoders
