// The inside of the program ingest_worker: limits first, then foreign bytes.
#pragma once

namespace microdit::ingest {

/// ingest_worker pictures | archive NAME KIND MEMBER_BYTES EXPANSION OFFSETS [WANTED...]; returns the exit code.
int serve(int argc, char** argv);

}  // namespace microdit::ingest
