// Where a rank computes.
#pragma once

#include <torch/types.h>

#include <string>

#include "dist/communicator.h"

namespace microdit::eval {

/// The device of this rank for `device` (cpu | cuda); UserError when CUDA was asked for and is not there.
/// Collective.
torch::Device compute_device(const std::string& device, dist::Communicator& comm);

}  // namespace microdit::eval
