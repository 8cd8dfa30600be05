// Pictures and captions -> latents: samples/NAME -> latents/NAME/RECIPE.
#include "data_job.h"
#include "ingest/recipe.h"

using namespace microdit;

int main(int argc, char** argv) {
  const auto recipe = [](const ingest::CatalogueEntry& entry) {
    return entry.recipe + ":\n" + core::to_yaml(ingest::load_recipe(entry.name, entry.recipe));
  };
  return jobs::data_job(argc, argv,
                        {.name = "precompute",
                         .summary = "Pictures and captions -> latents: samples/NAME -> latents/NAME/RECIPE."},
                        ingest::precompute, ingest::describe_precompute, recipe);
}
