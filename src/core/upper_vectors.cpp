// The end of a processor state.
#include "core/upper_vectors.h"

namespace microdit::core {

#ifdef __x86_64__
namespace {
__attribute__((target("avx"))) void zero_upper() {
  __builtin_ia32_vzeroupper();
}
}  // namespace

void release_upper_vectors() {
  static const bool has_them = __builtin_cpu_supports("avx");
  if (has_them) zero_upper();
}
#else
void release_upper_vectors() {}
#endif

}  // namespace microdit::core
