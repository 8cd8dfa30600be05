// Which build this is and where it runs: for logs, and for what a run keeps of each of its lives.
#pragma once

#include <string>

#include "comm/communicator.h"
#include "core/json.h"

namespace microdit::jobs {

/// Sources beside ours that the program was built with, "ripple.cpp 0123456789ab"; "" for ours alone. Filled when a program is
/// linked, as models::more_denoisers is.
std::string built_with();

/// "microdit 0.1.0, revision 1234567890ab, LibTorch 2.11.0, GCC ..., with ...".
std::string build_text();

/// "n1 (4 ranks), n2 (4 ranks)". Collective.
std::string hosts_text(comm::Communicator& comm);

/// {time, job, life, hosts, ranks, build, words (the command line)}. Collective.
core::Json describe_life(comm::Communicator& comm);

}  // namespace microdit::jobs
