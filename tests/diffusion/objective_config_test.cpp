// The keys of the objective: what is printed, read back and refused.
#include "diffusion/objective_config.h"

#include <gtest/gtest.h>

#include "core/config.h"
#include "core/error.h"

namespace microdit::diffusion {
namespace {

struct File {
  ObjectiveConfig objective;
  void fields(core::Fields& f) { f.section("objective", objective); }
};

TEST(ObjectiveConfig, OldSettingsAreAsTheyWere) {
  EXPECT_EQ(core::to_json(ObjectiveConfig()).size(), 5U) << "runs older than the other keys must go on";
  const core::Json read = core::to_json(core::load<File>(core::ConfigTree::of_overrides({})).objective);
  EXPECT_EQ(read, core::to_json(ObjectiveConfig()));
}

TEST(ObjectiveConfig, ReadsBackWhatItPrints) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"objective.path=vp_sigmoid", "objective.prediction=v", "objective.gamma_tau=0.9",
            "objective.loss=huber", "objective.loss_delta=0.3", "objective.time_law=logit_normal",
            "objective.logit_std=2"},
           {"objective.path=flow", "objective.prediction=velocity", "objective.shift=3",
            "objective.weight=min_snr"},
           {"objective.path=scaled_linear", "objective.prediction=eps", "objective.beta_end=0.012"}}) {
    const ObjectiveConfig read = core::load<File>(core::ConfigTree::of_overrides(words)).objective;
    const core::Json printed = core::to_json(read);
    for (const std::string& word : words) {
      const auto at = word.find('=');
      EXPECT_TRUE(printed.contains(word.substr(10, at - 10))) << word << printed;
    }
    const core::Json whole{{"objective", printed}};
    EXPECT_EQ(core::to_json(core::load<File>(core::ConfigTree::of_json(whole, "facts")).objective), printed);
  }
}

TEST(ObjectiveConfig, KeysWithoutEffectAndIllegalPairsAreRefused) {
  const auto refused = [](const std::vector<std::string>& words) -> std::string {
    try {
      core::load<File>(core::ConfigTree::of_overrides(words));
    } catch (const core::UserError& error) {
      return error.what();
    }
    return "";
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != text.npos;
  };
  EXPECT_TRUE(has(refused({"objective.path=flow", "objective.prediction=eps"}), "there is: velocity, x0"));
  EXPECT_TRUE(has(refused({"objective.shift=3"}), "objective.shift"));
  EXPECT_TRUE(has(refused({"objective.path=vp_linear", "objective.prediction=v", "objective.gamma_tau=1"}),
                  "vp_cosine"));
  EXPECT_TRUE(has(refused({"objective.loss_delta=2"}), "smooth_l1, huber"));
  EXPECT_TRUE(has(refused({"objective.snr_gamma=2"}), "min_snr"));
  EXPECT_TRUE(has(refused({"objective.logit_mean=2"}), "logit_normal"));
  EXPECT_TRUE(has(refused({"objective.time_law=uniform"}), "there is: log_normal"));
  EXPECT_TRUE(has(refused({"objective.path=flow", "objective.prediction=x0", "objective.weight=edm"}),
                  "there is: one, min_snr"));
  EXPECT_EQ(refused({"objective.path=flow", "objective.prediction=velocity", "objective.time_law=uniform"}),
            "");
}

}  // namespace
}  // namespace microdit::diffusion
