// Names of one network in files of all kinds, and the report of two sets of names.
#include "core/weights_names.h"

#include <gmock/gmock.h>

#include <span>

#include "core/crc32.h"
#include "core/error.h"
#include "core/key_report.h"
#include "core/scratch_folder.h"

namespace microdit::core {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

TEST(NetworkNames, APlainStateDictStays) {
  const NetworkNames found = network_names({"blocks.0.w", "pos_embed", "ditto"});
  EXPECT_THAT(found.stored, ElementsAre(Pair("blocks.0.w", "blocks.0.w"), Pair("ditto", "ditto"),
                                        Pair("pos_embed", "pos_embed")));
  EXPECT_THAT(found.others, IsEmpty());
}

TEST(NetworkNames, WrappersAreTakenOff) {
  for (const char* prefix :
       {"dit.", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.dit._orig_mod.",
        "state_dict.", "state_dict.model.module.", "state.model.dit.", "model."}) {
    const NetworkNames found = network_names({std::string(prefix) + "a.w", std::string(prefix) + "b"});
    EXPECT_THAT(found.stored,
                ElementsAre(Pair("a.w", std::string(prefix) + "a.w"), Pair("b", std::string(prefix) + "b")))
        << prefix;
  }
}

TEST(NetworkNames, OfNanoDiffusionsCheckpointsEitherWeights) {
  const std::vector<std::string> all = {"model_state_dict._orig_mod.w",
                                        "ema_model_state_dict.ema_model._orig_mod.w",
                                        "optimizer_state_dict.state.0.exp_avg"};
  EXPECT_THAT(network_names(all).stored, ElementsAre(Pair("w", "model_state_dict._orig_mod.w")));
  EXPECT_THAT(network_names(all, true).stored,
              ElementsAre(Pair("w", "ema_model_state_dict.ema_model._orig_mod.w")));
  EXPECT_THROW(network_names({"w"}, true), UserError);
}

TEST(NetworkNames, OfACheckpointTheNetworkAlone) {
  const NetworkNames found =
      network_names({"state.model.dit.w", "state.model.vae.w", "state.model.text_encoder.w",
                     "state.model.more", "state.optimizers.AdamW.state.w.exp_avg", "rng.0.torch"});
  EXPECT_THAT(found.stored, ElementsAre(Pair("more", "state.model.more"), Pair("w", "state.model.dit.w")));
  EXPECT_THAT(found.others, ElementsAre("rng.0.torch", "state.model.text_encoder.w", "state.model.vae.w",
                                        "state.optimizers.AdamW.state.w.exp_avg"));
}

TEST(NetworkNames, TwoOfOneNameAreRefused) {
  EXPECT_THAT(message_of<UserError>([] {
                network_names({"module.w", "w"});
              }),
              HasSubstr("both stand for 'w'"));
}

TEST(KeyReport, SaysAllThreeKinds) {
  EXPECT_EQ(key_report({{"a", {1}}}, {{"a", {1}}}), "");
  EXPECT_EQ(key_report({{"a", {1}}, {"b", {2, 3}}}, {{"b", {3, 2}}, {"c", {}}}),
            "missing (1): c; unexpected (1): a; other shape (1): b is [2, 3] and must be [3, 2]");
  Shapes many;
  for (int i = 0; i < 25; ++i) many[std::to_string(i)] = {};
  EXPECT_THAT(key_report({}, many), HasSubstr("missing (25): "));
  EXPECT_THAT(key_report({}, many), HasSubstr(", and 5 more"));
}

TEST(Crc32, KnownValues) {
  const auto of = [](std::string_view text, std::uint32_t before = 0) {
    return crc32(std::as_bytes(std::span(text)), before);
  };
  EXPECT_EQ(of(""), 0u);
  EXPECT_EQ(of("123456789"), 0xCBF43926u);  // the standard's check value
  EXPECT_EQ(of("The quick brown fox jumps over the lazy dog"), 0x414FA339u);
  EXPECT_EQ(of("56789", of("1234")), 0xCBF43926u);
}

}  // namespace
}  // namespace microdit::core
