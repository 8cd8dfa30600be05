// The members of facts.json.
#include "eval/run_facts.h"

#include "core/error.h"

namespace microdit::eval {

void MdsColumns::fields(core::Fields& f) {
  f.field("latents", latents, {.help = "f16 latents; {size} = the picture's side"});
  f.field("text", text, {.help = "f16 text rows"});
  f.field("caption", caption, {.help = "the caption's text"});
  if (f.reading() && latents.empty()) f.error("latents", "must name a column");
  if (f.reading() && text.empty()) f.error("text", "must name a column");
}

void RunSource::fields(core::Fields& f) {
  f.field("dataset", dataset);
  f.field("recipe", recipe);
  f.field("mds", mds);
  f.section("columns", columns);
  f.field("synthetic", synthetic, {.min = 0});
  f.field("min_side", min_side, {.min = 0});
  f.field("limit", limit, {.min = 0});
  f.field("generation", generation, {.min = 0});
  f.field("sha256", sha256);
  f.field("rows", rows, {.min = 0});
}

std::string RunSource::name() const {
  if (!mds.empty()) return mds;
  if (synthetic > 0) return "synthetic data";
  return recipe.empty() ? dataset : dataset + "/" + recipe;
}

bool RunSource::same_place(const RunSource& other) const {
  return dataset == other.dataset && recipe == other.recipe && mds == other.mds &&
         synthetic == other.synthetic && min_side == other.min_side && limit == other.limit;
}

void RunFacts::fields(core::Fields& f) {
  const core::FieldRule needed{.required = true}, counted{.min = 1, .required = true};
  f.field("stage", stage, {.required = true, .choices = {"run"}});
  f.field("size", size, counted);
  f.field("channels", channels, counted);
  f.field("latent_size", latent_size, counted);
  f.field("text_length", text_length, counted);
  f.field("text_width", text_width, counted);
  if (f.reading() ? f.given("codec") : !codec.kind.empty()) f.section("codec", codec);
  if (f.reading() ? f.given("text_encoder") : !text_encoder.kind.empty())
    f.section("text_encoder", text_encoder);
  f.field("captions", captions, needed);
  if (f.reading() || !classes.empty()) f.field("classes", classes);
  f.sections("data", data);
  f.field("shuffle_run", shuffle_run, {.min = 1, .required = true});
  f.section("model", model);
  f.section("objective", objective);
  if (f.reading() && data.empty()) f.error("data", "must name the data");
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
