// Tensors to files and back, and what loading refuses.
#include "nn/state_dict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "nn/linear.h"

namespace microdit::nn {
namespace {

struct Folder {
  std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "state_dict_test";
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

TEST(Tensors, RoundTripKeepsTypeShapeAndValues) {
  const Folder folder;
  const StateDict tensors{{"half", torch::tensor({1.5F, -2.0F}).to(torch::kHalf)},
                          {"brain", torch::tensor({0.25F}).to(torch::kBFloat16)},
                          {"transposed", torch::arange(6, torch::kFloat).view({2, 3}).t()},
                          {"scalar", torch::tensor(3.25)},
                          {"ids", torch::tensor({1, 2, 3}, torch::kInt)},
                          {"none", torch::empty({0, 4})},
                          {"bytes", torch::tensor({0, 255}, torch::kByte)}};
  save_tensors(folder.path / "t.safetensors", tensors);
  const StateDict back = load_tensors(folder.path / "t.safetensors");
  ASSERT_EQ(back.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(back.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(torch::equal(back.at(name), tensor)) << name;
  }
}

TEST(LoadStateDict, CopiesAndConverts) {
  Linear net(3, 2, true);
  load_state_dict(net, {{"weight", torch::ones({2, 3}).to(torch::kHalf)}, {"bias", torch::zeros({2})}}, "w");
  EXPECT_EQ(net.weight.sum().item<double>(), 6);
  EXPECT_EQ(net.weight.scalar_type(), torch::kFloat);
}

TEST(LoadStateDict, ListsEverythingThatIsWrong) {
  Linear net(3, 2, true);
  EXPECT_THAT(
      [&] {
        load_state_dict(net, {{"weight", torch::ones({3, 2})}, {"wieght", torch::ones({1})}},
                        "w.safetensors");
      },
      testing::ThrowsMessage<core::UserError>(
          testing::AllOf(testing::HasSubstr("w.safetensors"), testing::HasSubstr("bias"),
                         testing::HasSubstr("wieght"), testing::HasSubstr("[3, 2]"))));
}

TEST(LoadStateDict, IntegersAreNoWeights) {
  Linear net(3, 2, true);
  EXPECT_THAT(
      [&] {
        load_state_dict(net, {{"weight", torch::ones({2, 3}, torch::kChar)}, {"bias", torch::zeros({2})}},
                        "w.pt");
      },
      testing::ThrowsMessage<core::UserError>(testing::HasSubstr("w.pt: tensor 'weight' is Char")));
}

TEST(LoadStateDict, OfASharedParametersNamesOneIsEnough) {
  torch::nn::Module net;
  const auto shared = std::make_shared<Linear>(2, 2, false);
  net.register_module("a", shared);
  net.register_module("b", shared);
  const torch::Tensor ones = torch::ones({2, 2}), zeros = torch::zeros({2, 2});
  load_state_dict(net, {{"b.weight", ones}}, "w");
  EXPECT_TRUE(torch::equal(shared->weight, ones));
  load_state_dict(net, {{"a.weight", zeros}, {"b.weight", zeros}}, "w");
  EXPECT_TRUE(torch::equal(shared->weight, zeros));
  for (const StateDict& bad : {StateDict{{"a.weight", ones}, {"b.weight", zeros}},
                               StateDict{{"a.weight", ones}, {"b.weight", ones.to(torch::kHalf)}},
                               StateDict{}, StateDict{{"a.weight", ones}, {"c.weight", ones}}})
    EXPECT_THROW(load_state_dict(net, bad, "w"), core::UserError);
}

TEST(LoadStateDict, IgnoresWhatItIsTold) {
  Linear net(3, 2, true);
  const torch::Tensor before = net.bias.detach().fill_(4).clone();
  load_state_dict(net, {{"weight", torch::ones({2, 3})}, {"more", torch::ones({1})}}, "w", {"bias", "more"});
  EXPECT_TRUE(torch::equal(net.bias.detach(), before));
}

TEST(CounterTensors, DependOnTheirKeyAlone) {
  EXPECT_TRUE(torch::equal(counter_normal({4, 5}, 1, 6, 2), counter_normal({20}, 1, 6, 2).view({4, 5})));
  EXPECT_FALSE(torch::equal(counter_normal({20}, 1, 6, 2), counter_normal({20}, 1, 6, 3)));
  EXPECT_FALSE(torch::equal(counter_normal({20}, 1, 6, 2), counter_normal({20}, 1, 7, 2)));
  const torch::Tensor uniform = counter_uniform({1000}, 1, 7, 0, 9);
  EXPECT_GE(uniform.min().item<double>(), 0);
  EXPECT_LT(uniform.max().item<double>(), 1);
  EXPECT_NEAR(uniform.mean().item<double>(), 0.5, 0.05);
}

}  // namespace
}  // namespace microdit::nn
