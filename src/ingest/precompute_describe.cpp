// precompute --dry-run: can it run, what is left, what it will take.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ingest/precompute_plan.h"
#include "ingest/stage_driver.h"
#include "ingest/stages.h"

namespace microdit::ingest {

void describe_precompute(const CatalogueEntry& entry) {
  PrecomputePlan plan = plan_encoders(entry);  // before the data: that may take days to come
  describe_space(plan.folder);
  fmt::print("recipe {}: codec {}, text encoder {}\n", plan.recipe.name, plan.recipe.images.codec,
             plan.recipe.text.encoder);
  if (!is_complete(entry.samples_folder(), "clean")) return;
  plan_items(entry, plan);
}

}  // namespace microdit::ingest
