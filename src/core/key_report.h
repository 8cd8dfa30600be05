// What a set of tensors lacks, has too many of, or has in another shape, beside the set that is wanted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace microdit::core {

using Shapes = std::map<std::string, std::vector<std::int64_t>>;  ///< by name

/// "missing (2): a, b; unexpected (1): c; other shape (1): d is [2, 3] and must be [3, 2]", each with at most 20 names; "" when
/// the two agree.
std::string key_report(const Shapes& have, const Shapes& wanted);

/// UserError with `origin` and that report unless the two agree: the weights are of another network.
void demand_keys(const Shapes& have, const Shapes& wanted, const std::string& origin);

}  // namespace microdit::core
