// Facts of encoders that folders and runs written earlier do not hold.
#pragma once

#include "core/json.h"

namespace microdit::core {

/// Erases, at any depth, those of these members (`network`, `tokenizer_sha256`, `precision`) that only one of the two has: where one side
/// was written before they were, the weights' SHA-256 decides alone.
void forget_unshared(Json& a, Json& b);

}  // namespace microdit::core
