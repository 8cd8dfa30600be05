// Rows that the text mask hides: no bit depends on them, and what is left is the net on the seen rows alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/utils.h>

#include <limits>

#include "core/error.h"
#include "golden_config.h"
#include "models/denoiser.h"

namespace microdit::models {
namespace {

DenoiserConfig config(bool text_mask) {
  DenoiserConfig c = golden_config();
  c.text_mask = text_mask;
  return c;
}

torch::Tensor waves(at::IntArrayRef shape, double step) {
  return torch::sin(step * torch::arange(c10::multiply_integers(shape), torch::kDouble))
      .view(shape)
      .to(torch::kFloat);
}

/// No weight is zero, as those of a trained net.
std::shared_ptr<Denoiser> net_of(bool text_mask) {
  const auto net = make_uninitialized_denoiser(config(text_mask));
  const torch::NoGradGuard no_grad;
  for (auto& item : net->named_parameters()) {
    const auto count = static_cast<double>(item.value().numel());
    item.value().copy_(0.1 * waves(item.value().sizes(), 0.37 + 1 / count));
    if (item.key().find("norm") != std::string::npos) item.value().add_(1);
  }
  return net;
}

torch::Tensor mask_of(std::initializer_list<std::int64_t> lengths, std::int64_t rows) {
  return torch::arange(rows) < torch::tensor(std::vector<std::int64_t>(lengths)).unsqueeze(1);
}

struct Input {
  torch::Tensor x, label, text, mask;
};

Input input_of(std::initializer_list<std::int64_t> lengths, std::int64_t rows) {
  const auto batch = static_cast<std::int64_t>(lengths.size());
  return {waves({batch, 4, 8, 8}, 0.1), waves({batch}, 1.1), waves({batch, rows, 24}, 0.7),
          mask_of(lengths, rows)};
}

/// The prediction and every gradient of a fixed scalar of it, the text rows' last.
std::vector<torch::Tensor> results(Denoiser& net, const Input& in) {
  const torch::Tensor text = in.text.to(net.parameters()[0].scalar_type()).clone().requires_grad_();
  std::vector<torch::Tensor> leaves = net.parameters();
  leaves.push_back(text);
  const auto type = text.scalar_type();
  const torch::Tensor out = net.forward(in.x.to(type), in.label.to(type), {text, in.mask}).prediction_BCHW;
  std::vector<torch::Tensor> all{out.detach()};
  for (const torch::Tensor& grad : torch::autograd::grad({(out * waves(out.sizes(), 0.3)).sum()}, leaves, {},
                                                         {}, false, /*allow_unused=*/true))
    if (grad.defined()) all.push_back(grad);
  return all;
}

double relative(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).to(torch::kDouble).norm() / (b.to(torch::kDouble).norm() + 1e-30)).item<double>();
}

struct RowsAndType {
  std::int64_t rows;
  torch::ScalarType type;
};
/// 7 rows: our kernel. 1100: torch's, in fp32. Double: torch's, too.
class TextMask : public testing::TestWithParam<RowsAndType> {};

TEST_P(TextMask, HiddenRowsChangeNoBitOfValuesAndGradients) {
  const auto net = net_of(true);
  net->to(GetParam().type);
  Input in = input_of({3, 0, GetParam().rows, 1}, GetParam().rows);
  const std::vector<torch::Tensor> before = results(*net, in);
  const torch::Tensor hidden = in.mask.logical_not().unsqueeze(-1);
  for (const double garbage : {1e4, -3e38, std::numeric_limits<double>::quiet_NaN()}) {
    in.text = in.text.masked_fill(hidden, garbage);
    const std::vector<torch::Tensor> after = results(*net, in);
    ASSERT_EQ(after.size(), before.size());
    for (std::size_t i = 0; i < after.size(); ++i) {
      EXPECT_TRUE(after[i].isfinite().all().item<bool>()) << i;
      EXPECT_TRUE(torch::equal(after[i], before[i])) << "result " << i << ", garbage " << garbage;
    }
    EXPECT_EQ(after.back().masked_select(hidden).abs().max().item<double>(), 0);
  }
  in.text = input_of({3, 0, 2, 1}, GetParam().rows).text.clone();
  in.text[0][2] += 0.1;  // the control: a row that is seen
  EXPECT_FALSE(torch::equal(results(*net, in)[0], before[0]));
}

TEST_P(TextMask, IsTheNetOnTheSeenRowsAlone) {
  const auto masked = net_of(true), plain = net_of(false);
  masked->to(GetParam().type);
  plain->to(GetParam().type);
  const Input in = input_of({3, 1, GetParam().rows, 2}, GetParam().rows);
  const double bar = GetParam().type == torch::kDouble ? 1e-6 : 1e-5;  // the experts' gate is fp32 in both
  const torch::Tensor whole = results(*masked, in)[0];
  for (std::int64_t b = 0; b < 4; ++b) {
    const Input one{
        in.x.narrow(0, b, 1), in.label.narrow(0, b, 1), in.text[b].index({in.mask[b]}).unsqueeze(0), {}};
    EXPECT_LT(relative(whole[b], results(*plain, one)[0][0]), bar) << b;
  }
  EXPECT_GT(relative(whole, results(*plain, in)[0]), 1e-4) << "the control: the mask does something";
}

TEST_P(TextMask, WithAllRowsSeenIsTheOriginal) {
  const auto masked = net_of(true), plain = net_of(false);
  masked->to(GetParam().type);
  plain->to(GetParam().type);
  const std::int64_t rows = GetParam().rows;
  const Input in = input_of({rows, rows}, rows);
  const std::vector<torch::Tensor> a = results(*masked, in), b = results(*plain, in);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_LT(relative(a[i], b[i]), GetParam().type == torch::kDouble ? 1e-11 : 1e-4) << i;
}

TEST_P(TextMask, NoRowsAreTheOriginalsNullCondition) {
  const auto masked = net_of(true), plain = net_of(false);
  masked->to(GetParam().type);
  plain->to(GetParam().type);
  Input in = input_of({0, 0}, GetParam().rows);
  const torch::Tensor ours = results(*masked, in)[0];
  in.text.zero_();
  EXPECT_LT(relative(ours, results(*plain, in)[0]), GetParam().type == torch::kDouble ? 1e-12 : 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Paths, TextMask,
                         testing::Values(RowsAndType{7, torch::kFloat}, RowsAndType{1100, torch::kFloat},
                                         RowsAndType{9, torch::kDouble}));

TEST(TextMaskInput, AnyRowsMayBeHidden) {
  const auto masked = net_of(true), plain = net_of(false);
  Input in = input_of({6}, 6);
  in.mask = torch::tensor({false, true, true, false, false, true}).unsqueeze(0);
  const Input seen{in.x, in.label, in.text[0].index({in.mask[0]}).unsqueeze(0), {}};
  EXPECT_LT(relative(results(*masked, in)[0], results(*plain, seen)[0]), 1e-5);
}

TEST(TextMaskInput, IsDemandedAndChecked) {
  const auto net = net_of(true);
  const Input in = input_of({3, 2}, 5);
  for (const torch::Tensor& mask : {torch::Tensor(), in.mask.narrow(1, 0, 4), in.mask.to(torch::kFloat)})
    EXPECT_THAT(
        [&] {
          net->forward(in.x, in.label, {in.text, mask});
        },
        testing::ThrowsMessage<core::UserError>(testing::HasSubstr("model.text_mask")));
}

TEST(TextMaskInput, IsNotTakenWithoutTheKey) {
  const auto net = net_of(false);
  Input in = input_of({3, 2}, 5);
  const torch::Tensor with = results(*net, in)[0];
  in.mask = torch::Tensor();
  EXPECT_TRUE(torch::equal(with, results(*net, in)[0]));
}

}  // namespace
}  // namespace microdit::models
