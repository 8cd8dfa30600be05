// The members of facts.json.
#include "eval/run_facts.h"

#include "core/error.h"

namespace microdit::eval {

void RunFacts::fields(core::Fields& f) {
  const core::FieldRule needed{.required = true}, counted{.min = 1, .required = true};
  f.field("stage", stage, {.required = true, .choices = {"run"}});
  f.field("size", size, counted);
  f.field("channels", channels, counted);
  f.field("latent_size", latent_size, counted);
  f.field("text_length", text_length, counted);
  f.field("text_width", text_width, counted);
  f.section("codec", codec);
  f.section("text_encoder", text_encoder);
  f.field("captions", captions, needed);
  f.field("datasets", datasets, needed);
  f.section("model", model);
  f.section("objective", objective);
  if (f.reading() && captions.empty()) f.error("captions", "must name a caption source");
}

RunFacts read_run_facts(const std::filesystem::path& run_folder) {
  const std::filesystem::path file = run_folder / "facts.json";
  if (!std::filesystem::exists(file))
    core::user_error("--run {}: no run (facts.json is missing); train one first", run_folder.string());
  const core::Json facts = core::read_json(file);
  const core::Json stage = facts.is_object() ? facts.value("stage", core::Json()) : core::Json();
  if (stage.is_string() && stage != "run")
    core::user_error("--run {}: a run of stage '{}', not of a denoiser", run_folder.string(),
                     stage.get<std::string>());
  return core::load<RunFacts>(core::ConfigTree::of_json(facts, file.string()));
}

}  // namespace microdit::eval
