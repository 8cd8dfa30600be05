// Which path goes with what: the table of legal combinations.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace microdit::diffusion {

/// Paths that share their rules. Of each list the first is the default.
struct Family {
  enum class Kind { edm, vp, betas, flow } kind;
  std::vector<std::string> paths, predictions, time_laws, rules, grids;

  bool is(Kind other) const { return kind == other; }
  /// The grid of `rule` where none is named.
  std::string own_grid(std::string_view rule) const;
};

/// With the schedules of more_schedules() among the paths of vp.
const std::vector<Family>& families();
/// UserError that lists the paths where `path` is none of them.
const Family& family_of(const std::string& path);
/// All names of one column, each once, in the table's order.
std::vector<std::string> all_names(std::vector<std::string> Family::*column);
/// "" where `name` is in the column, else the legal ones: `prediction "v" does not go with path "flow"; there is: velocity, x0`.
std::string illegal(const Family& family, std::vector<std::string> Family::*column, std::string_view what,
                    const std::string& name, const std::string& path);

}  // namespace microdit::diffusion
