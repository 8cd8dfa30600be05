// Captions collected, a model trained, its folder published.
#include "ingest/train_tokenizer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>
#include <thread>

#include "core/atomic_file.h"
#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "encoders/encoder_facts.h"
#include "encoders/tokenizer.h"
#include "encoders/tokenizer_limits.h"
#include "encoders/tokenizer_training.h"
#include "ingest/samples_shard.h"
#include "ingest/stage_driver.h"
#include "store/manifest_text.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
using core::Json;

constexpr double kLongest_s = 24 * 3600;  // that other ranks wait
constexpr const char* kMade = "made_of";  // the member of config.json

/// What decides a tokenizer's bytes, beside the captions.
Json settings_of(const TokenizerConfig& config) {
  Json names = Json::array();
  for (const CaptionData& one : config.data)
    names.push_back((fs::path(one.dataset) / "").lexically_normal().parent_path().filename().string());
  return {{"datasets", names},
          {"captions", config.captions},
          {"vocabulary", config.vocabulary},
          {"character_coverage", config.character_coverage},
          {"fold_case", config.fold_case}};
}

/// The distinct captions with the smallest hashes, in the hashes' order: the same whatever the order they come in.
class DistinctCaptions {
 public:
  void add(const std::string& caption) {
    if (caption.empty()) return;
    if (caption.size() > encoders::kLongestSentence) {
      ++too_long_;
      return;
    }
    kept_.emplace(core::xxh3_64(std::as_bytes(std::span(caption))), caption);
    if (kept_.size() > encoders::kMostSentences) kept_.erase(std::prev(kept_.end()));
  }
  std::vector<std::string> take() {
    std::vector<std::string> captions;
    while (!kept_.empty()) captions.push_back(std::move(kept_.extract(kept_.begin()).value().second));
    return captions;
  }
  std::int64_t too_long() const { return too_long_; }

 private:
  std::set<std::pair<std::uint64_t, std::string>> kept_;
  std::int64_t too_long_ = 0;
};

std::vector<std::string> sources_of(const TokenizerConfig& config, const store::Manifest& samples) {
  const auto there = samples.facts.at("caption_sources").get<std::vector<std::string>>();
  for (const std::string& wanted : config.captions)
    if (std::ranges::find(there, wanted) == there.end())
      core::user_error("captions: {}: {} has no such caption source; it has {}", wanted,
                       samples.folder.string(), fmt::join(there, ", "));
  return config.captions.empty() ? there : config.captions;
}

store::Manifest read_samples(const CaptionData& data) {
  store::Manifest samples = store::Manifest::read(core::dataset_folder("samples", data.dataset));
  if (samples.facts.value("stage", "") != "samples" || samples.shards().empty())
    core::user_error("{}: no samples in it; run clean", samples.folder.string());
  return samples;
}

/// Adds the captions of one dataset's training split, and says of which generation they are.
Json read_captions(const TokenizerConfig& config, const CaptionData& data, DistinctCaptions& captions,
                   const core::StopFlag& stop) {
  const store::Manifest samples = read_samples(data);
  const std::vector<std::string> sources = sources_of(config, samples);
  for (const store::Record& record : samples.records)
    for (std::size_t i = 0; i < record.shards.size(); ++i) {
      if (stop.requested()) throw core::Stopped();
      const SamplesShard shard(samples.folder, record.shards[i], SamplesUse::captions,
                               fingerprint_of(record, i), stop);
      const auto splits = shard.reader().read_as<std::uint8_t>("split");
      for (const std::string& source : sources) {
        const std::vector<std::string> texts = store::read_strings(shard.reader(), "caption." + source);
        if (texts.size() != splits.size())
          core::user_error("{}: its columns have different numbers of rows; make the shard anew",
                           shard.reader().path().string());
        for (std::size_t row = 0; row < texts.size(); ++row)
          if (splits[row] == 0) captions.add(texts[row]);
      }
    }
  return {{"dataset", samples.facts.value("dataset", fs::path(data.dataset).filename().string())},
          {"generation", samples.generation},
          {"sha256", samples.sha256}};
}

/// The trainer cannot be interrupted: who is asked to stop meanwhile ends here. Nothing has been written by then.
class EndsAtStop {
 public:
  explicit EndsAtStop(const core::StopFlag& stop)
      : watch_([&stop](const std::stop_token& done) {
          while (!done.stop_requested()) {
            if (stop.requested()) {
              core::log_info("train_tokenizer: stopped as asked; the same command begins anew");
              std::_Exit(core::kRequeueMe);
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
          }
        }) {}

 private:
  std::jthread watch_;
};

void write_folder(const fs::path& folder, const std::string& model, const Json& made,
                  std::int64_t vocabulary) {
  const Json tokenizer = {{"tokenizer_class", "T5Tokenizer"},
                          {"extra_ids", 0},
                          {"eos_token", "</s>"},
                          {"unk_token", "<unk>"},
                          {"pad_token", "<pad>"},
                          {"additional_special_tokens", Json::array()}};
  const Json config = {{"model_type", encoders::kTokenizerAlone}, {"vocab_size", vocabulary}, {kMade, made}};
  core::atomic_write(folder / "spiece.model", model);
  core::atomic_write(folder / "tokenizer_config.json", tokenizer.dump(2) + "\n");
  core::atomic_write(folder / "config.json", config.dump(2) + "\n");
}

/// How long captions are in its tokens: what the recipe's text.length is chosen by.
std::string lengths_text(const fs::path& folder, const std::vector<std::string>& captions) {
  const auto tokenizer = encoders::load_tokenizer(folder);
  std::vector<std::size_t> lengths;
  for (const std::string& caption : captions) lengths.push_back(tokenizer->encode(caption).size());
  std::ranges::sort(lengths);
  return fmt::format("they have up to {} tokens, 99 % of them up to {} (text.length of a recipe)",
                     lengths.back(), lengths[lengths.size() * 99 / 100]);
}

/// Whether it is there. UserError: of other settings.
bool is_there(const TokenizerConfig& config) {
  const fs::path folder = config.folder(), file = folder / "config.json";
  std::error_code none;
  if (!fs::exists(folder, none)) return false;
  const Json made = fs::exists(file) ? core::read_json(file).value(kMade, Json::object()) : Json::object();
  if (!made.contains("settings"))
    core::user_error("{}: there is something else that train_tokenizer did not make; name another output=",
                     folder.string());
  if (made["settings"] != settings_of(config))
    core::user_error(
        "{}: was trained with other settings: {}, now {}. Remove the folder (runs that were trained with it "
        "need it), or give another name=",
        folder.string(), made["settings"].dump(), settings_of(config).dump());
  return true;
}

void train(const TokenizerConfig& config, const core::StopFlag& stop) {
  const fs::path folder = config.folder();
  if (is_there(config)) {
    core::log_info("train_tokenizer: {} is there already", folder.string());
    return;
  }
  fs::create_directories(folder.parent_path());
  core::remove_stale_temporaries_of(folder);
  DistinctCaptions collected;
  Json made = {{"settings", settings_of(config)}, {"data", Json::array()}};
  for (const CaptionData& data : config.data)
    made["data"].push_back(read_captions(config, data, collected, stop));
  if (collected.too_long() > 0)
    core::log_warn("train_tokenizer: {} captions of more than {} bytes are left out", collected.too_long(),
                   encoders::kLongestSentence);
  const std::vector<std::string> captions = collected.take();
  if (captions.empty())
    core::user_error("train_tokenizer: the training split of {} holds no caption", config.data[0].dataset);
  made["num_captions"] = captions.size();
  std::string model;
  {
    const EndsAtStop ends(stop);
    model =
        encoders::train_unigram(captions, {config.vocabulary, config.character_coverage, config.fold_case});
  }
  const fs::path aside = core::temporary_path(folder);
  fs::create_directories(aside);
  write_folder(aside, model, made, config.vocabulary);
  const std::string lengths = lengths_text(aside, captions);
  core::publish(aside, folder);
  core::log_info("train_tokenizer: {} pieces from {} captions; {}; {}", config.vocabulary, captions.size(),
                 lengths, folder.string());
}

}  // namespace

void CaptionData::fields(core::Fields& f) {
  f.field("dataset", dataset,
          {.required = true, .help = "name of a dataset under the data root, or a folder (with a slash)"});
}

void TokenizerConfig::fields(core::Fields& f) {
  f.field("name", name, {.max = 200, .required = true, .help = "of its folder: weights/NAME"});
  f.sections("data", data);
  f.field("captions", captions, {.help = "caption sources, as clean kept them; none = all"});
  f.field("vocabulary", vocabulary,
          {.min = 4,
           .max = static_cast<double>(encoders::kMostPieces),
           .help = "pieces, with <pad>, </s> and <unk>"});
  f.field("character_coverage", character_coverage,
          {.min = 0.9,
           .max = 1,
           .help = "share of the captions' characters that have a piece; the rest is <unk>"});
  f.field("fold_case", fold_case, {.help = "capitals are small letters to it"});
  f.field("device", device,
          {.choices = {"auto", "cpu", "cuda"},
           .help = "not used: a site's MICRODIT_ARGS gives it to all stages"});
  f.field("output", output, {.help = "folder; empty = weights/NAME under the data root"});
  if (!f.reading()) return;
  if (!name.empty() && !store::is_plain_name(name))
    f.error("name", fmt::format("'{}': use letters, digits, '-', '_' and '.' only", name));
  if (data.empty()) f.error("data", "at least one dataset is needed");
}

fs::path TokenizerConfig::folder() const {
  return core::whole_path(output.empty() ? core::data_root() / "weights" / name : fs::path(output));
}

int train_tokenizer(const TokenizerConfig& config, comm::Communicator& comm, const core::StopFlag& stop) try {
  const comm::WiderDeadline others_wait(comm, kLongest_s);
  comm.on_root([&] { train(config, stop); });
  return core::kDone;
} catch (const core::Stopped&) {
  core::log_info("train_tokenizer: stopped as asked; the same command begins anew");
  return core::kRequeueMe;
}

void describe_train_tokenizer(const TokenizerConfig& config) {
  bool complete = true;
  for (const CaptionData& data : config.data) {
    const fs::path samples = core::dataset_folder("samples", data.dataset);
    if (is_complete(samples, "clean"))
      sources_of(config, read_samples(data));
    else
      complete = false;
  }
  const bool there = is_there(config);
  fmt::print("train_tokenizer {}: {} pieces -> {}{}\n", config.name, config.vocabulary,
             config.folder().string(), there ? " (is there already)" : "");
  if (complete && !there) describe_space(config.folder());
}

}  // namespace microdit::ingest
