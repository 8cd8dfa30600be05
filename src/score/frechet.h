// The distance between two Gaussians (Dowson and Landau 1982; FID: Heusel et al. 2017).
#pragma once

#include "score/moments.h"

namespace microdit::score {

/// |mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^.5). The last trace is the sum of the singular values of S1^.5 S2^.5, so that
/// singular covariances (fewer pictures than features) cost no digits. UserError when the widths differ.
double frechet_distance(const Gaussian& a, const Gaussian& b);

}  // namespace microdit::score
