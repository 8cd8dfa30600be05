// The communicator under test: one for the process, of whatever size this binary was launched with.
#pragma once

#include "dist/communicator.h"

namespace microdit::dist {
Communicator& world();
}  // namespace microdit::dist
