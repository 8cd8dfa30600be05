// The communicator under test: one for the process, of whatever size this binary was launched with.
#pragma once

#include "comm/communicator.h"

namespace microdit::comm {
Communicator& world();
}  // namespace microdit::comm
