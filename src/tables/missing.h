// What a source writes where a number is missing.
#pragma once

#include "tables/value.h"

namespace microdit::tables {

/// Whether a cell of a column of numbers says that there is none: nothing, text of white space, or "nan" in any case, as numpy and pandas
/// write it.
bool is_missing(const Value& value);

}  // namespace microdit::tables
