// Nothing beside ours. Alone in its object, so that a program that was built with more is linked without it.
#include "provenance.h"

namespace microdit::jobs {

std::string built_with() {
  return "";
}

}  // namespace microdit::jobs
