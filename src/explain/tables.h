// What goes with what, as tables.
#pragma once

#include "explain/chapter.h"

namespace microdit::explain {

/// The table of legal combinations, and what its names mean.
Chapter tables_chapter();

}  // namespace microdit::explain
