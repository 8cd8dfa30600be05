// The distance between two Gaussians (Dowson and Landau 1982; FID: Heusel et al. 2017).
#pragma once

#include "score/moments.h"

namespace microdit::score {

/// |mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^.5). With fewer pictures than features, rounding where the covariances have no extent makes
/// it too small, by some 1e-5 of it at 2048 features, as it does pytorch-fid's and clean-fid's: it is kept, since numbers are compared with
/// theirs. UserError when the widths differ.
double frechet_distance(const Gaussian& a, const Gaussian& b);

}  // namespace microdit::score
