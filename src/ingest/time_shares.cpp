// One line of shares.
#include "ingest/time_shares.h"

#include <fmt/format.h>

namespace microdit::ingest {

std::string TimeShares::text(double wall_s) const {
  const auto share = [&](Spent kind) { return wall_s > 0 ? 100 * seconds(kind) / wall_s : 0; };
  return fmt::format(
      "read {:.1f} %, wait for pictures {:.1f} %, encode {:.1f} %, write {:.1f} % of the time; decode {:.1f} "
      "%, "
      "resize {:.1f} % in the workers beside it",
      share(Spent::read), share(Spent::wait), share(Spent::encode), share(Spent::write), share(Spent::decode),
      share(Spent::resize));
}

}  // namespace microdit::ingest
