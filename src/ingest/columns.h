// A vector of values as a shard's column.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "store/shard.h"

namespace microdit::ingest {

template <class T>
store::Column make_column(const std::string& name, core::DType dtype, const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {name, dtype, {static_cast<std::int64_t>(values.size())}, {bytes.begin(), bytes.end()}};
}

}  // namespace microdit::ingest
