// Facts hold settings and identities, never a place, a count or a device.
#include "ingest/precompute_plan.h"

#include <algorithm>

#include "core/error.h"
#include "encoders/image_codec.h"
#include "encoders/text_encoder.h"
#include "ingest/samples_shard.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

// Versions of what turns samples into columns. Raise one when the same samples would give other bytes.
constexpr int kResize = 1;     ///< Pillow's bicubic, shorter edge to the size, centre crop
constexpr int kPosterior = 2;  ///< noise keyed by (seed, picture's bytes, size)
constexpr int kText = 4;       ///< batches by length, pads, lengths
constexpr int kRows = 2;       ///< which rows and columns a shard has

constexpr std::int64_t kNoTextWidth = 1;  ///< where there is no encoder: a folder's width is above 0

constexpr double kLongestHash_s = 3600;  ///< of tens of GB over a slow network

void check_sizes(const CatalogueEntry& entry, const PrecomputePlan& plan) {
  for (const std::int64_t size : plan.recipe.images.sizes)
    if (size % plan.codec.downscale != 0)
      core::user_error("{}: images.sizes: {} is no multiple of {}, the downscaling of {}", entry.recipe, size,
                       plan.codec.downscale, plan.recipe.images.codec);
}

/// Latents used to lie in latents/DATASET itself.
void refuse_older(const CatalogueEntry& entry) {
  const fs::path folder = entry.latents_folder();
  if (fs::exists(folder / "facts.json"))
    core::user_error("{}: written by an older microdit (format 1); remove it and run precompute again",
                     folder.string());
}

/// Both encoders as JSON.
std::string describe_encoders(const Recipe& recipe, const core::StopFlag& stop) {
  core::Json both = {{"codec", core::to_json(encoders::describe_image_codec(recipe.images.codec, stop))}};
  if (recipe.text.has_encoder())
    both["text_encoder"] = core::to_json(encoders::describe_text_encoder(recipe.text.encoder, stop));
  return both.dump();
}

template <class Facts>
Facts facts_from(const core::Json& both, const char* key, const std::string& origin) {
  return core::load<Facts>(core::ConfigTree::of_json(both.at(key), origin + ": " + key));
}

core::Json make_facts(const CatalogueEntry& entry, const PrecomputePlan& plan) {
  const ImageRecipe& images = plan.recipe.images;
  const TextRecipe& text = plan.recipe.text;
  core::Json pictures = entry.pictures.algorithms();
  pictures["resize"] = kResize;
  pictures["posterior"] = kPosterior;
  pictures["rows"] = kRows;
  core::Json facts = {
      {"stage", "latents"},
      {"dataset", entry.name},
      {"subset", entry.subset},
      {"recipe", plan.recipe.name},
      {"channels", plan.codec.channels},
      {"sizes", images.sizes},
      {"enlarge", images.enlarge},
      {"downscale", plan.codec.downscale},
      {"codec", core::to_json(plan.codec)},
      {"codec_latent", images.latent},
      {"codec_seed", images.seed},
      {"image_batch_size", images.batch_size},
      {"image_precision", images.precision},
      {"text_length", text.length},
      {"text_width", text.has_encoder() ? plan.text.width : kNoTextWidth},
      {"pads", plan.text.pads},
      {"text_batch_size", text.batch_size},
      {"text_precision", text.precision},
      {"text_int8", text.int8},
      {"tokens_only", text.tokens_only},
      {"caption_sources", plan.samples.facts.at("caption_sources")},
      {"split_names", plan.samples.facts.at("split_names")},
      {"threads_per_rank", entry.threads_per_rank},
      {"algorithms", {{"images", std::move(pictures)}, {"text", {{"text", kText}, {"rows", kRows}}}}}};
  if (text.has_encoder()) facts["text_encoder"] = core::to_json(plan.text);
  if (images.flips) facts["flips"] = true;  // folders without it hold no such key
  const core::Json record = plan.samples.facts.value("record", core::Json::object());
  const RecordSection made{.kind = record.value("kind", ""), .from = record.value("class", "")};
  if (made.is_labelled() || !made.from.empty())
    facts["classes"] = record.value("classes", core::Json::array());
  return facts;
}

}  // namespace

std::vector<std::string> PrecomputePlan::caption_sources() const {
  return facts.at("caption_sources").get<std::vector<std::string>>();
}

bool is_wanted(const CatalogueEntry& entry, LatentPart part) {
  return entry.part == "all" || entry.part == name_of(part);
}

const char* name_of(LatentPart part) {
  return part == LatentPart::images ? "images" : "text";
}

PrecomputePlan plan_encoders(const CatalogueEntry& entry, comm::Communicator& comm,
                             const core::StopFlag& stop) {
  refuse_older(entry);
  PrecomputePlan plan;
  plan.recipe = load_recipe(entry.name, entry.recipe);
  {
    const comm::WiderDeadline others_wait(comm, kLongestHash_s);
    const core::Json both =
        core::parse_json(comm.on_root([&] { return describe_encoders(plan.recipe, stop); }), entry.recipe);
    plan.codec = facts_from<encoders::CodecFacts>(both, "codec", entry.recipe);
    if (plan.recipe.text.has_encoder())
      plan.text = facts_from<encoders::TextEncoderFacts>(both, "text_encoder", entry.recipe);
    plan.text.precision = plan.recipe.text.precision;
    if (plan.text.kind == encoders::kTokenizerAlone && !plan.recipe.text.tokens_only)
      core::user_error(
          "{}: text.encoder: {} is a tokenizer alone, which makes no rows: say tokens_only: true beside it",
          entry.recipe, plan.recipe.text.encoder);
  }
  check_sizes(entry, plan);
  if (plan.recipe.text.has_encoder())
    encoders::load_tokenizer(plan.recipe.text.encoder, plan.recipe.text.length);
  plan.folder = entry.latents_folder() / plan.recipe.name;
  return plan;
}

void plan_items(const CatalogueEntry& entry, PrecomputePlan& plan) {
  plan.samples = store::Manifest::read(entry.samples_folder());
  if (plan.samples.facts.value("stage", "") != "samples" || plan.samples.shards().empty())
    core::user_error("{}: no samples in it; run clean", entry.samples_folder().string());
  const core::Json judged = plan.samples.facts.value("pictures", core::Json()),
                   wanted = core::to_json(entry.pictures);
  if (judged != wanted)
    core::user_error(
        "{}: its pictures were judged with pictures {}, the entry says {}: set it back, or run clean again",
        entry.samples_folder().string(), judged.dump(), wanted.dump());
  plan.facts = make_facts(entry, plan);
  for (const LatentPart part : {LatentPart::images, LatentPart::text})
    for (const store::Record& record : plan.samples.records)
      for (std::size_t i = 0; i < record.shards.size(); ++i) {
        const store::ShardEntry& shard = record.shards[i];
        plan.items.push_back({{fmt::format("{}.{}", fs::path(shard.file).stem().string(), name_of(part)),
                               {{"samples_sha256", shard.sha256}}},
                              part,
                              shard,
                              fingerprint_of(record, i)});
      }
}

core::Json facts_of_part(const core::Json& facts, LatentPart part) {
  static constexpr const char* kImages[] = {
      "format",     "dataset",          "subset",          "split_names",     "channels", "classes",
      "sizes",      "enlarge",          "flips",           "downscale",       "codec",    "codec_latent",
      "codec_seed", "image_batch_size", "image_precision", "threads_per_rank"};
  static constexpr const char* kText_[] = {
      "format",         "dataset",      "subset",      "caption_sources", "text_length",
      "text_width",     "text_encoder", "pads",        "flips",           "text_batch_size",
      "text_precision", "text_int8",    "tokens_only", "threads_per_rank"};
  core::Json found = core::Json::object();
  const auto take = [&](std::span<const char* const> keys) {
    for (const char* key : keys) found[key] = facts.value(key, core::Json());
  };
  if (part == LatentPart::images)
    take(kImages);
  else
    take(kText_);
  for (auto& [key, value] : found.items())
    if (value.is_object()) value.erase("folder");
  found["algorithms"] = facts.value("algorithms", core::Json::object()).value(name_of(part), core::Json());
  return found;
}

}  // namespace microdit::ingest
