// The inside of a worker that reads an archive: libarchive lives only here.
#pragma once

#include <functional>

#include "ingest/archives.h"

namespace microdit::ingest {

/// As for_each_member, in this process, from an open file; `name` is what messages call it.
ArchiveSummary read_archive(int file, const std::string& name, const ArchiveRules& rules,
                            const std::function<void(Member&&)>& on_member);

}  // namespace microdit::ingest
