// A test's own folder of latents, and a stream that reads it.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "store/temporary_folder.h"
#include "stream/latent_stream.h"
#include "stream/latents_folder.h"

namespace microdit::stream {

class StreamFolder : public testing::Test {
 protected:
  StreamConfig config_of(const std::string& name = "a", std::int64_t size = 64) const {
    StreamConfig config;
    config.sources = {{folder / name, 1.0}};
    config.size = size;
    config.seed = 11;
    return config;
  }
  TemporaryFolder folder;
  FolderShape shape;
};

/// Sample number of the folder's `index`-th sample of the split, by the generator's rule.
inline int number_of(int index, bool held_out) {
  return held_out ? index * 10 + 9 : index + index / 9;
}

}  // namespace microdit::stream
