// Moving token rows to experts and back, without one-hot matrices. Both directions are deterministic.
#pragma once

#include <torch/types.h>

namespace microdit::nn::kernels {

/// choice [E, N, K] (int64): the tokens of sample n that expert e took; an expert takes a token at most once.
/// x [N, T, D] -> [E, N K, D].
torch::Tensor gather_rows(const torch::Tensor& x_NTD, const torch::Tensor& choice_ENK);
torch::Tensor gather_rows_reference(const torch::Tensor& x_NTD, const torch::Tensor& choice_ENK);

/// out[n, choice[e, n, k]] += gate[e, n, k] * h[e, n k]: [E, N K, D] -> [N, T, D]; tokens nobody took are
/// zero.
torch::Tensor combine_rows(const torch::Tensor& h_EMD, const torch::Tensor& gate_ENK,
                           const torch::Tensor& choice_ENK, std::int64_t num_tokens);
torch::Tensor combine_rows_reference(const torch::Tensor& h_EMD, const torch::Tensor& gate_ENK,
                                     const torch::Tensor& choice_ENK, std::int64_t num_tokens);

}  // namespace microdit::nn::kernels
