// Pictures and captions -> latents: samples/NAME -> latents/NAME/RECIPE.
#include "data_job.h"
#include "encoders/fetch_command.h"
#include "ingest/recipe.h"

using namespace microdit;

int main(int argc, char** argv) {
  const auto recipe = [](const ingest::CatalogueEntry& entry) {
    ingest::require_data(entry, "precompute");
    const ingest::Recipe recipe = ingest::load_recipe(entry.name, entry.recipe);
    return fmt::format(
        "{}:\n{}weights:  # the catalogue's entries of these folders\n  codec: \"{}\"\n  encoder: \"{}\"\n",
        entry.recipe, core::to_yaml(recipe), encoders::weights_entry(recipe.images.codec).string(),
        encoders::weights_entry(recipe.text.encoder).string());
  };
  return jobs::data_job(argc, argv,
                        {.name = "precompute",
                         .summary = "Pictures and captions -> latents: samples/NAME -> latents/NAME/RECIPE."},
                        ingest::precompute, ingest::describe_precompute, recipe);
}
