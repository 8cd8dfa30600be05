// What a parameter's role changes of its optimizer step.
#pragma once

#include "nn/parameter_role.h"

namespace microdit::train {

struct RoleFactors {
  double lr = 1;
  double weight_decay = 1;
  bool operator==(const RoleFactors&) const = default;
};

}  // namespace microdit::train
