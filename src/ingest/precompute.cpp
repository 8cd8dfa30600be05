// precompute: samples shards -> latents shards of the same names, through the frozen encoders.
#include <map>
#include <optional>
#include <unordered_map>

#include "comm/device.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "image/decode.h"
#include "ingest/columns.h"
#include "ingest/encode.h"
#include "ingest/progress.h"
#include "ingest/stages.h"
#include "ingest/work.h"
#include "store/sample_hash.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kFormat = 1;

std::string item_of(const store::ShardEntry& shard) {
  return fs::path(shard.file).stem().string();
}

std::string shards_sha256(const store::Manifest& samples) {
  core::Sha256 inputs;
  for (const store::ShardEntry& shard : samples.shards()) {
    const std::string line = fmt::format("{} {}\n", shard.file, shard.sha256);
    inputs.update(std::as_bytes(std::span(line)));
  }
  return inputs.hex_digest();
}

core::Json make_facts(const CatalogueEntry& entry, const store::Manifest& samples, const Encoders& encoders) {
  return {{"stage", "latents"},
          {"format", kFormat},
          {"dataset", entry.name},
          {"subset", entry.subset},
          {"channels", encoders.codec->config().latent_channels},
          {"sizes", entry.latents.sizes},
          {"downscale", encoders.codec->net().downscale()},
          {"text_length", entry.latents.text_length},
          {"text_width", encoders.text->width()},
          {"caption_sources", samples.facts.at("caption_sources")},
          {"split_names", samples.facts.at("split_names")},
          {"codec", encoders.codec->describe()},
          {"codec_latent", entry.latents.codec_latent},
          {"codec_seed", entry.latents.seed},
          {"text_encoder", encoders.text->describe()},
          {"batch_size", entry.latents.batch_size},
          {"threads_per_rank", entry.threads_per_rank},
          {"device", entry.device},
          {"samples_sha256", shards_sha256(samples)}};
}

/// UserError when the shard is not what the manifest says; names the samples that are hit.
void check_shard(const fs::path& path, const store::ShardEntry& shard) {
  constexpr std::string_view kRemedy = "remove it and run clean again";
  if (!fs::exists(path))
    core::user_error("{}: is in the manifest but missing: run clean again", path.string());
  if (fs::file_size(path) != shard.bytes) {
    core::user_error("{}: has {} bytes, its manifest says {}: {}", path.string(), fs::file_size(path),
                     shard.bytes, kRemedy);
  }
  if (core::sha256_file(path) == shard.sha256) return;
  const store::ShardReader reader(path);  // names the file when its structure is hit
  std::vector<std::uint64_t> stored(static_cast<std::size_t>(reader.column("xxh3").rows()));
  reader.copy_rows("xxh3", 0, reader.column("xxh3").rows(), std::as_writable_bytes(std::span(stored)));
  const auto actual = store::hash_samples(reader, store::layout_from_json(reader.attributes().at("layout")));
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (i < stored.size() && actual[i] == stored[i]) continue;
    core::user_error("{}: sample {} is damaged (its xxh3 is {}): {}; doctor verify {} lists all damage",
                     path.string(), i, core::hex(actual[i]), kRemedy, path.parent_path().string());
  }
  core::user_error("{}: is damaged outside its samples (SHA-256 is not {}): {}", path.string(), shard.sha256,
                   kRemedy);
}

/// The captions of a shard: each text once, in first-seen order, and which of them every sample has.
struct CaptionTable {
  std::vector<std::string> unique;
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> rows;
  std::vector<std::uint8_t> sources;
};

CaptionTable tabulate_captions(const store::ShardReader& shard, const std::vector<std::string>& sources,
                               std::size_t samples) {
  CaptionTable table;
  std::vector<std::vector<std::string>> captions;
  for (const std::string& source : sources)
    captions.push_back(store::read_strings(shard, "caption." + source));
  std::unordered_map<std::string, std::int32_t> row_of;
  for (std::size_t i = 0; i < samples; ++i) {
    for (std::size_t source = 0; source < sources.size(); ++source) {
      const std::string& caption = captions[source].at(i);
      if (caption.empty()) continue;
      const auto [found, fresh] = row_of.try_emplace(caption, static_cast<std::int32_t>(table.unique.size()));
      if (fresh) table.unique.push_back(caption);
      table.rows.push_back(found->second);
      table.sources.push_back(static_cast<std::uint8_t>(source));
    }
    table.offsets.push_back(static_cast<std::int64_t>(table.rows.size()));
  }
  return table;
}

image::Image decode_sample(const store::ShardReader& shard, std::int64_t begin, std::int64_t end,
                           const std::string& key) {
  const std::vector<std::byte> bytes = shard.read("image", begin, end - begin);
  try {
    return image::decode(bytes);
  } catch (const image::BadImage& bad) {
    core::user_error("{}: the picture of '{}' cannot be decoded ({}): run clean again", shard.path().string(),
                     key, bad.what());
  }
}

class ShardEncoder {
 public:
  ShardEncoder(const CatalogueEntry& entry, const Encoders& encoders, const std::vector<std::string>& sources,
               Progress& progress, const core::StopFlag& stop)
      : entry_(entry), encoders_(encoders), sources_(sources), progress_(progress), stop_(stop) {}

  /// Encodes and publishes one shard; nothing when stopped.
  std::optional<store::Record> run(const store::ShardEntry& shard) {
    const fs::path source = entry_.samples_folder() / shard.file;
    check_shard(source, shard);
    const store::ShardReader reader(source);
    const std::vector<std::string> keys = store::read_strings(reader, "key");
    store::ShardContents contents;
    if (!encode_pictures(reader, keys, contents)) return std::nullopt;
    const CaptionTable captions = tabulate_captions(reader, sources_, keys.size());
    std::vector<store::Column> text = encode_captions(entry_, *encoders_.text, captions.unique, stop_);
    if (text.empty()) return std::nullopt;
    for (store::Column& column : text) contents.columns.push_back(std::move(column));
    contents.columns.push_back(make_column("caption_offsets", core::DType::i64, captions.offsets));
    contents.columns.push_back(make_column("caption_rows", core::DType::i32, captions.rows));
    contents.columns.push_back(make_column("caption_source", core::DType::u8, captions.sources));
    store::add_strings(contents, "text_caption", captions.unique);
    contents.columns.push_back(make_column("split", core::DType::u8, reader.read_as<std::uint8_t>("split")));
    store::add_strings(contents, "key", keys);
    const std::string sha256 = write(shard, contents);
    const std::uint64_t bytes = fs::file_size(entry_.latents_folder() / shard.file);
    const core::Json details = {{"samples_sha256", shard.sha256},
                                {"unique_captions", captions.unique.size()}};
    return store::Record{item_of(shard), {{shard.file, shard.rows, bytes, sha256}}, details};
  }

 private:
  bool encode_pictures(const store::ShardReader& reader, const std::vector<std::string>& keys,
                       store::ShardContents& contents) {
    const auto offsets = reader.read_as<std::int64_t>("image_offsets");
    LatentColumns latents(entry_, encoders_);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (stop_.requested()) return false;
      latents.add(decode_sample(reader, offsets[i], offsets[i + 1], keys[i]), keys[i]);
      progress_.add(1);
    }
    contents.columns = latents.finish();
    return true;
  }

  std::string write(const store::ShardEntry& shard, store::ShardContents& contents) const {
    store::SampleLayout layout;
    for (const std::int64_t size : entry_.latents.sizes)
      layout.fixed.push_back(fmt::format("latents_{}", size));
    layout.fixed.push_back("split");
    layout.variable = {"key"};
    layout.via_offsets = "caption_offsets";
    layout.via_index = "caption_rows";
    layout.shared = {"text", "text_ids"};
    contents.sample_hashes = store::hash_samples(contents, layout);
    contents.attributes = {{"stage", "latents"},          {"format", kFormat},
                           {"dataset", entry_.name},      {"item", item_of(shard)},
                           {"caption_sources", sources_}, {"layout", store::to_json(layout)}};
    return store::write_shard(entry_.latents_folder() / shard.file, contents);
  }

  const CatalogueEntry& entry_;
  const Encoders& encoders_;
  const std::vector<std::string>& sources_;
  Progress& progress_;
  const core::StopFlag& stop_;
};

store::Manifest read_samples(const CatalogueEntry& entry) {
  store::Manifest samples = store::Manifest::read(entry.samples_folder());
  if (samples.facts.value("stage", "") != "samples" || samples.shards().empty()) {
    core::user_error("{}: no samples in it; run clean", entry.samples_folder().string());
  }
  if (samples.facts.value("format", 0) != kFormat) {
    core::user_error("{}: written in another format; remove it and run clean again",
                     entry.samples_folder().string());
  }
  return samples;
}

}  // namespace

int precompute(const CatalogueEntry& entry, comm::Communicator& comm, const core::StopFlag& stop) {
  const torch::Device device(comm::choose_device(comm, entry.device).name());
  const Encoders encoders = load_encoders(entry, device);
  const store::Manifest samples = read_samples(entry);
  const std::vector<store::ShardEntry> shards = samples.shards();
  const fs::path path = entry.latents_folder();
  store::StageFolder folder(path, make_facts(entry, samples, encoders),
                            static_cast<std::int64_t>(shards.size()));
  const comm::Share share = comm::share_of(comm, entry.task);

  std::map<std::string, const store::ShardEntry*> own;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    if (share.owns(static_cast<std::int64_t>(i))) own[item_of(shards[i])] = &shards[i];
  }
  remove_own_temporaries(path,
                         [&](std::string_view name) { return own.contains(fs::path(name).stem().string()); });
  Progress progress("precompute", "pictures", static_cast<std::int64_t>(own.size()));
  const auto sources = samples.facts.at("caption_sources").get<std::vector<std::string>>();
  ShardEncoder encoder(entry, encoders, sources, progress, stop);
  bool stopped = false;
  for (const auto& [name, shard] : own) {
    if ((stopped = stop.requested())) break;
    const bool fresh = !folder.done(name);
    if (fresh) {
      const std::optional<store::Record> record = encoder.run(*shard);
      if ((stopped = !record)) break;
      folder.commit(*record);
    }
    progress.item_done(fresh);
  }
  progress.finish(stopped);
  return finish_stage(folder, "precompute", stopped, comm);
}

void describe_precompute(const CatalogueEntry& entry) {
  describe_space(entry.latents_folder());
  load_encoders(entry, torch::kCPU);  // before the data: that may take days to come
  fmt::print("encoders: {} and {} can be opened; device {}\n", entry.latents.codec,
             entry.latents.text_encoder, entry.device);
  if (!is_complete(entry.samples_folder(), "clean")) return;
  const store::Manifest samples = read_samples(entry);
  std::int64_t pictures = 0, done = 0;
  for (const store::ShardEntry& shard : samples.shards()) {
    pictures += shard.rows;
    done += fs::exists(entry.latents_folder() / "records" / (item_of(shard) + ".json"));
  }
  fmt::print("precompute {}: {} shards, {} pictures at", entry.name, samples.shards().size(), pictures);
  for (const std::int64_t size : entry.latents.sizes) fmt::print(" {}", size);
  fmt::print(" px -> {}\n  {} shards are done already\n  codec {}, text encoder {}\n",
             entry.latents_folder().string(), done, entry.latents.codec, entry.latents.text_encoder);
}

}  // namespace microdit::ingest
