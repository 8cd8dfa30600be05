// Which build this is and where it runs: for logs, and for what a run keeps of each of its lives.
#pragma once

#include <string>

#include "comm/communicator.h"
#include "core/json.h"

namespace microdit::jobs {

/// "microdit 0.1.0, revision 1234567890ab, LibTorch 2.11.0, GCC ...".
std::string build_text();

/// "n1 (4 ranks), n2 (4 ranks)". Collective.
std::string hosts_text(comm::Communicator& comm);

/// {time, job, life, hosts, ranks, build, words (the command line)}. Collective.
core::Json describe_life(comm::Communicator& comm);

}  // namespace microdit::jobs
