// The sources of a stream: opened, and compared with one another.
#pragma once

#include <memory>
#include <vector>

#include "stream/latent_stream.h"

namespace microdit::stream {

/// UserError naming the setting that cannot be.
void check_config(const StreamConfig& config);

/// In the order of the config; they share the open files and the copies on this node. Collective where `once` is.
std::vector<std::unique_ptr<RowSource>> open_sources(const StreamConfig& config);

/// UserError names a source whose samples have no classes.
void demand_classes(const std::vector<std::unique_ptr<RowSource>>& sources);

/// UserError names two sources and the fact at which they differ.
StreamFacts agree(const StreamConfig& config, const std::vector<std::unique_ptr<RowSource>>& sources);

}  // namespace microdit::stream
