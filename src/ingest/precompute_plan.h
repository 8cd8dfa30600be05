// What a precompute is going to make: the recipe, the samples, the folder's facts and its items; loads no network.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "encoders/encoder_facts.h"
#include "ingest/catalogue.h"
#include "ingest/recipe.h"
#include "store/manifest.h"

namespace microdit::ingest {

enum class LatentPart { images, text };

/// One samples shard's pictures or captions.
struct LatentItem {
  store::Item item;  ///< "<shard>.images" or "<shard>.text", and the samples' SHA-256
  LatentPart part = LatentPart::images;
  store::ShardEntry samples;
  std::string
      fingerprint;  ///< of the samples shard (ShardReader), hex; "" where clean was older and noted none
  std::string file() const { return item.name + ".h5"; }
};

struct PrecomputePlan {
  Recipe recipe;
  encoders::CodecFacts codec;
  encoders::TextEncoderFacts text;
  store::Manifest samples;
  std::filesystem::path folder;  ///< latents/DATASET/RECIPE
  core::Json facts;
  std::vector<LatentItem>
      items;  ///< all pictures, then all captions: the shares of ranks are then of one kind
  std::vector<std::string> caption_sources() const;
};

/// UserError: no recipe, no encoder in its folder, a size that the codec cannot take, latents of an older format.
/// Says nothing of the samples yet. Rank 0 alone reads the weights for their SHA-256. Collective; throws core::Stopped, on
/// all ranks, when rank 0 sees `stop` meanwhile.
PrecomputePlan plan_encoders(const CatalogueEntry& entry, comm::Communicator& comm,
                             const core::StopFlag& stop);
/// Adds the samples, the facts and the items. UserError: no closed samples folder.
void plan_items(const CatalogueEntry& entry, PrecomputePlan& plan);

/// Whether `entry.part` means this part.
bool is_wanted(const CatalogueEntry& entry, LatentPart part);
const char* name_of(LatentPart part);

/// The facts on which the bytes of a part's shards depend, where encoders lie apart.
core::Json facts_of_part(const core::Json& facts, LatentPart part);

}  // namespace microdit::ingest
