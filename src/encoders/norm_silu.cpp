// Fused GroupNorm + SiLU over channels-last pictures. Two passes over a picture forward, two backward;
// PyTorch's own channels-last GroupNorm backward alone is slower than a whole 3x3 convolution at these
// widths.
#include "encoders/norm_silu.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "core/error.h"
#include "encoders/norm_silu_rows.h"

namespace microdit::encoders {
namespace {

// Pixels are taken in rows of several, so that inner loops are long enough for wide vectors: `width` floats.
struct Shape {
  std::int64_t batch, channels, groups, pixels, pixels_per_row;
  std::int64_t width() const { return channels * pixels_per_row; }
  std::int64_t rows() const { return pixels / pixels_per_row; }
  std::int64_t per_group() const { return channels / groups; }
};

Shape shape_of(const torch::Tensor& x, std::int64_t groups) {
  Shape s{x.size(0), x.size(1), groups, x.size(2) * x.size(3), 1};
  while (s.channels * s.pixels_per_row < 128 && s.pixels % (2 * s.pixels_per_row) == 0) s.pixels_per_row *= 2;
  return s;
}

/// One picture after the other of a channels-last fp32 or bf16 tensor, as floats: in place, or by way of a
/// copy.
class PictureFloats {
 public:
  explicit PictureFloats(const torch::Tensor& pictures)
      : data_(pictures.data_ptr()),
        count_(pictures.numel() / pictures.size(0)),
        copy_(pictures.scalar_type() == torch::kBFloat16 ? count_ : 0) {}

  const float* read(std::int64_t n) {
    if (copy_.empty()) return at(n);
    widen(bf16_at(n), count_, copy_.data());
    return copy_.data();
  }
  /// Where picture n is to be written, before stored(n).
  float* write(std::int64_t n) { return copy_.empty() ? at(n) : copy_.data(); }
  void stored(std::int64_t n) {
    if (!copy_.empty()) narrow(copy_.data(), count_, bf16_at(n));
  }

 private:
  float* at(std::int64_t n) { return static_cast<float*>(data_) + n * count_; }
  std::uint16_t* bf16_at(std::int64_t n) { return static_cast<std::uint16_t*>(data_) + n * count_; }

  void* data_;
  std::int64_t count_;
  std::vector<float> copy_;
};

constexpr std::int64_t kRowsPerPartial = 128;  // fp32 partial sums stay short; the rest is added in double

// Repeats the first `channels` floats over the row.
void tile(float* table, const Shape& s) {
  for (std::int64_t i = s.channels; i < s.width(); ++i) table[i] = table[i - s.channels];
}

void fold(const float* partial, const Shape& s, double* sum_C) {
  for (std::int64_t i = 0; i < s.width(); ++i) sum_C[i % s.channels] += partial[i];
}

// Mean of each group, repeated per channel into `mean`, from per-channel sums.
void group_means(const std::vector<double>& sum_C, const Shape& s, float* mean) {
  const std::int64_t d = s.per_group();
  for (std::int64_t g = 0; g < s.groups; ++g) {
    double total = 0;
    for (std::int64_t c = g * d; c < (g + 1) * d; ++c) total += sum_C[c];
    for (std::int64_t c = g * d; c < (g + 1) * d; ++c)
      mean[c] = static_cast<float>(total / static_cast<double>(d * s.pixels));
  }
}

/// One picture's rows of floats, or of bf16 that are widened into `copy`.
struct Picture {
  const void* data;
  bool bf16;
  const float* rows(std::int64_t first, std::int64_t count, std::int64_t width,
                    std::vector<float>& copy) const {
    if (!bf16) return static_cast<const float*>(data) + first * width;
    copy.resize(count * width);
    widen(static_cast<const std::uint16_t*>(data) + first * width, count * width, copy.data());
    return copy.data();
  }
};

// sum_C += x, or (x - mean)^2 where a row of means is given; added in one order, whatever the threads.
void add_up(const Picture& x, const Shape& s, const float* mean, double* sum_C) {
  const std::int64_t w = s.width(), parts = (s.rows() + kRowsPerPartial - 1) / kRowsPerPartial;
  std::vector<float> partial(parts * w, 0.0F);
  at::parallel_for(0, parts, 4, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> copy;
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t first = p * kRowsPerPartial, count = std::min(kRowsPerPartial, s.rows() - first);
      const float* rows = x.rows(first, count, w, copy);
      if (mean == nullptr)
        add_rows(rows, count, w, partial.data() + p * w);
      else
        add_square_rows(rows, mean, count, w, partial.data() + p * w);
    }
  });
  for (std::int64_t p = 0; p < parts; ++p) fold(partial.data() + p * w, s, sum_C);
}

// Statistics of one picture, per channel (equal within a group): mean, then 1/std.
void moments(const Picture& x, const Shape& s, double eps, float* mean_C, float* rstd_C) {
  std::vector<double> sum(s.channels, 0.0), square(s.channels, 0.0);
  std::vector<float> mean(s.width());
  add_up(x, s, nullptr, sum.data());
  group_means(sum, s, mean.data());
  tile(mean.data(), s);
  add_up(x, s, mean.data(), square.data());
  group_means(square, s, rstd_C);
  for (std::int64_t c = 0; c < s.channels; ++c) {
    mean_C[c] = mean[c];
    rstd_C[c] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(rstd_C[c]) + eps));
  }
}

// The affine map in front of the SiLU: scale | offset | mean, each a full row.
std::vector<float> affine_tables(const Shape& s, const float* mean_C, const float* rstd_C,
                                 const float* weight, const float* bias) {
  const std::int64_t w = s.width();
  std::vector<float> tables(3 * w);
  for (std::int64_t c = 0; c < s.channels; ++c) {
    tables[c] = rstd_C[c] * weight[c];
    tables[w + c] = bias[c] - mean_C[c] * tables[c];
    tables[2 * w + c] = mean_C[c];
  }
  for (int t = 0; t < 3; ++t) tile(tables.data() + t * w, s);
  return tables;
}

struct Gradients {
  float* dx;
  double* dweight_C;
  double* dbias_C;
};

void backward_picture(const float* x, const float* dy, const Shape& s, const float* mean_C,
                      const float* rstd_C, const float* weight, const float* bias, const Gradients& out) {
  const std::int64_t w = s.width();
  std::vector<float> tables = affine_tables(s, mean_C, rstd_C, weight, bias);
  std::vector<float> partial(w), partial_x(w);
  std::vector<double> sum_x(s.channels, 0.0);
  for (std::int64_t r = 0; r < s.rows(); r += kRowsPerPartial) {
    std::fill(partial.begin(), partial.end(), 0.0F);
    std::fill(partial_x.begin(), partial_x.end(), 0.0F);
    backward_rows(x + r * w, dy + r * w, tables.data(), std::min(kRowsPerPartial, s.rows() - r), w,
                  out.dx + r * w, partial.data(), partial_x.data());
    fold(partial.data(), s, out.dbias_C);
    fold(partial_x.data(), s, sum_x.data());
  }
  // dx = rstd (gamma dh - m1 - xhat m2), m1 and m2 the group means of gamma dh and gamma dh xhat
  std::vector<double> weighted(s.channels), weighted_x(s.channels);
  std::vector<float> m1(s.channels), m2(s.channels);
  for (std::int64_t c = 0; c < s.channels; ++c) {
    out.dweight_C[c] = sum_x[c] * rstd_C[c];
    weighted[c] = out.dbias_C[c] * weight[c];
    weighted_x[c] = out.dweight_C[c] * weight[c];
  }
  group_means(weighted, s, m1.data());
  group_means(weighted_x, s, m2.data());
  for (std::int64_t c = 0; c < s.channels; ++c) {
    const float slope = -rstd_C[c] * rstd_C[c] * m2[c];
    tables[c] = rstd_C[c] * weight[c];
    tables[w + c] = slope;
    tables[2 * w + c] = -rstd_C[c] * m1[c] - mean_C[c] * slope;
  }
  for (int t = 0; t < 3; ++t) tile(tables.data() + t * w, s);
  combine_rows(x, tables.data(), s.rows(), w, out.dx);
}

class NormSilu : public torch::autograd::Function<NormSilu> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& bias, std::int64_t groups,
                               double eps) {
    const torch::Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast);
    const torch::Tensor gain = weight.contiguous(), shift = bias.contiguous();
    const Shape s = shape_of(x, groups);
    torch::Tensor y = torch::empty_like(x);
    torch::Tensor stats = torch::empty({s.batch, 2, s.channels}, torch::kFloat32);
    float* stat = stats.data_ptr<float>();
    const float* g = gain.const_data_ptr<float>();
    const float* b = shift.const_data_ptr<float>();
    at::parallel_for(0, s.batch, 1, [&](std::int64_t begin, std::int64_t end) {
      PictureFloats in(x), out(y);
      for (std::int64_t n = begin; n < end; ++n) {
        const float* picture = in.read(n);
        float* mean = stat + n * 2 * s.channels;
        moments({picture, false}, s, eps, mean, mean + s.channels);
        const std::vector<float> tables = affine_tables(s, mean, mean + s.channels, g, b);
        apply_rows(picture, tables.data(), tables.data() + s.width(), s.rows(), s.width(), out.write(n));
        out.stored(n);
      }
    });
    context->save_for_backward({x, gain, shift, stats});
    context->saved_data["groups"] = groups;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const torch::Tensor& x = saved[0];
    const Shape s = shape_of(x, context->saved_data["groups"].toInt());
    const torch::Tensor dy = grads[0].contiguous(at::MemoryFormat::ChannelsLast);
    torch::Tensor dx = torch::empty_like(x);
    // Each picture's share is kept apart and added in order: no dependence on the threads.
    torch::Tensor shares = torch::zeros({s.batch, 2, s.channels}, torch::kFloat64);
    const float* stat = saved[3].const_data_ptr<float>();
    double* share = shares.data_ptr<double>();
    const float* g = saved[1].const_data_ptr<float>();
    const float* b = saved[2].const_data_ptr<float>();
    at::parallel_for(0, s.batch, 1, [&](std::int64_t begin, std::int64_t end) {
      PictureFloats in(x), upstream(dy), out(dx);
      for (std::int64_t n = begin; n < end; ++n) {
        const float* mean = stat + n * 2 * s.channels;
        double* mine = share + n * 2 * s.channels;
        backward_picture(in.read(n), upstream.read(n), s, mean, mean + s.channels, g, b,
                         {out.write(n), mine, mine + s.channels});
        out.stored(n);
      }
    });
    const torch::Tensor total = shares.sum(0).to(torch::kFloat32);
    return {dx, total[0], total[1], torch::Tensor(), torch::Tensor()};
  }
};

}  // namespace

torch::Tensor norm_silu(const torch::Tensor& x_BCHW, const torch::Tensor& weight_C,
                        const torch::Tensor& bias_C, std::int64_t num_groups, double eps) {
  const torch::ScalarType type = x_BCHW.scalar_type();
  const bool fused = x_BCHW.device().is_cpu() && (type == torch::kFloat32 || type == torch::kBFloat16) &&
                     weight_C.scalar_type() == torch::kFloat32 && x_BCHW.dim() == 4;
  if (fused) return NormSilu::apply(x_BCHW, weight_C, bias_C, num_groups, eps);
  return at::silu(at::group_norm(x_BCHW, num_groups, weight_C, bias_C, eps));
}

torch::Tensor group_moments(const torch::Tensor& x_BCHW, std::int64_t num_groups, double eps) {
  const torch::Tensor x = x_BCHW.contiguous(at::MemoryFormat::ChannelsLast);
  const Shape s = shape_of(x, num_groups);
  torch::Tensor out = torch::empty({s.batch, 2, s.channels}, torch::kFloat32);
  for (std::int64_t n = 0; n < s.batch; ++n) {
    float* mean = out.data_ptr<float>() + n * 2 * s.channels;
    const auto* bytes = static_cast<const std::byte*>(x.const_data_ptr());
    moments({bytes + n * s.pixels * s.channels * x.element_size(), x.scalar_type() == torch::kBFloat16}, s,
            eps, mean, mean + s.channels);
  }
  return out;
}

torch::Tensor norm_silu_rows(const torch::Tensor& some_BChW, const torch::Tensor& moments_B2C,
                             const torch::Tensor& weight_C, const torch::Tensor& bias_C) {
  const torch::Tensor x = some_BChW.contiguous(at::MemoryFormat::ChannelsLast);
  const torch::Tensor gain = weight_C.contiguous(), shift = bias_C.contiguous();
  const Shape s = shape_of(x, 1);
  const std::int64_t w = s.width();
  const bool bf16 = x.scalar_type() == torch::kBFloat16;
  torch::Tensor y = torch::empty_like(x);
  for (std::int64_t n = 0; n < s.batch; ++n) {
    const float* mean = moments_B2C.const_data_ptr<float>() + n * 2 * s.channels;
    const std::vector<float> tables = affine_tables(s, mean, mean + s.channels, gain.const_data_ptr<float>(),
                                                    shift.const_data_ptr<float>());
    const std::int64_t picture = n * s.pixels * s.channels;
    const Picture in{static_cast<const std::byte*>(x.const_data_ptr()) + picture * x.element_size(), bf16};
    at::parallel_for(0, s.rows(), kRowsPerPartial, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> copy, result(bf16 ? kRowsPerPartial * w : 0);
      for (std::int64_t r = begin; r < end; r += kRowsPerPartial) {
        const std::int64_t count = std::min(kRowsPerPartial, end - r), at = picture + r * w;
        float* out = bf16 ? result.data() : y.data_ptr<float>() + at;
        apply_rows(in.rows(r, count, w, copy), tables.data(), tables.data() + w, count, w, out);
        if (bf16) narrow(out, count * w, static_cast<std::uint16_t*>(y.data_ptr()) + at);
      }
    });
  }
  return y;
}

}  // namespace microdit::encoders
