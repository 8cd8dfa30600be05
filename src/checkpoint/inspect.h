// What a checkpoint folder holds and what is wrong with it: the one check behind Reader, open_latest and verify.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"

namespace microdit::checkpoint {

enum class Depth {
  structure,  ///< manifest and its checksum, sizes, headers
  payload,    ///< and the xxh3 of every part: together every byte
  identity    ///< and the SHA-256 of every file
};

struct Inspection {
  std::vector<std::string> damage;   ///< one line each: "FILE: ..."; empty = good
  std::optional<Manifest> manifest;  ///< when it could be read
};

/// Throws when something cannot be read for another reason than its bytes (FaultError: an I/O error; UserError: no
/// permission): that is no damage.
Inspection inspect(const std::filesystem::path& folder, Depth depth);

/// Steps of the visible checkpoint folders under `folder`, newest first; empty when there is no such folder.
std::vector<std::int64_t> list_steps(const std::filesystem::path& folder);

}  // namespace microdit::checkpoint
