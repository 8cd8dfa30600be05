// A processor state that some libraries leave behind.
#pragma once

namespace microdit::core {

/// Declares the upper halves of the vector registers unused (x86's vzeroupper). A library that returns from AVX code without
/// it, as xxhash's dispatched functions do, makes every later change between SSE code and AVX code of this thread, and of
/// threads that it starts, wait: drawing normals took 9 times as long. Changes no value.
void release_upper_vectors();

}  // namespace microdit::core
