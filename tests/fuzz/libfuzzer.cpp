// libFuzzer's door: the target is named by the macro MICRODIT_FUZZ_TARGET (scripts/fuzz.sh).
#include <cstddef>
#include <cstdint>

#include "fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const microdit::fuzz::Target target = microdit::fuzz::targets().at(MICRODIT_FUZZ_TARGET);
  target({reinterpret_cast<const char*>(data), size});
  return 0;
}
