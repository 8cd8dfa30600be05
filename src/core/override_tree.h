// A configuration that has no file: key=value words alone (generate, evaluate).
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace microdit::core {

/// The tree of "a.b=value" words over nothing. UserError as ConfigTree::load.
ConfigTree tree_of_overrides(const std::vector<std::string>& overrides);

}  // namespace microdit::core
