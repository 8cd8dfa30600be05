// Two small archives through download and clean, and precompute on them with tiny random encoders.
#pragma once

#include <torch/utils.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "image/encode.h"
#include "image/resize.h"
#include "ingest/recipe.h"
#include "ingest/stages.h"
#include "store/latent_index.h"
#include "store/manifest.h"
#include "store/shard.h"
#include "store/temporary_folder.h"
#include "tar_writer.h"
#include "tiny_encoders.h"

namespace microdit::ingest {

namespace fs = std::filesystem;

inline constexpr std::int64_t kSmall = 5;  // the record whose picture is smaller than the larger size

inline image::Image picture_of(std::int64_t i) {
  image::Image picture(i == kSmall ? 14 : 20, 24);
  for (std::size_t p = 0; p < picture.pixels.size(); ++p)
    picture.pixels[p] = static_cast<std::uint8_t>(p * 7 + static_cast<std::size_t>(i) * 31);
  return picture;
}

class Precompute : public InFolder {
 protected:
  void SetUp() override {
    InFolder::SetUp();
    ::setenv("MICRODIT_DATA", (folder_ / "data").c_str(), 1);
    make_tiny_codec(folder_ / "codec", 1.25);
    make_tiny_bert(folder_ / "bert");
    entry_.name = "t";
    entry_.shard_records = 5;
    entry_.record.caption = {{"name", "txt"}, {"long", "json:long"}};
    entry_.captions.which = {"name", "long"};
    recipe_.name = "r";
    recipe_.images.sizes = {8, 16};
    recipe_.images.codec = folder_ / "codec";
    recipe_.images.batch_size = 3;
    recipe_.text.encoder = folder_ / "bert";
    recipe_.text.length = 6;
    recipe_.text.batch_size = 3;
    for (int a = 0; a < 2; ++a) {
      TarWriter tar;
      for (int i = 10 * a; i < 10 * a + 7; ++i) {
        const auto png = image::encode_png(picture_of(i));
        // Two names among seven records; every third has a second caption.
        if (i % 3 == 0) tar.add(fmt::format("{:02}.json", i), R"({"long": "long red"})");
        tar.add(fmt::format("{:02}.png", i), {reinterpret_cast<const char*>(png.data()), png.size()});
        tar.add(fmt::format("{:02}.txt", i), i % 2 ? "name blue" : "name red");
      }
      entry_.source.urls.push_back("file://" + write(fmt::format("{}.tar", a), tar.finished()).string());
    }
    download(entry_, *comm_, stop_);
    clean(entry_, *comm_, stop_);
  }
  void TearDown() override {
    ::unsetenv("MICRODIT_DATA");
    InFolder::TearDown();
  }
  /// With recipe_ as it stands now; what was logged.
  int run() {
    entry_.recipe = write(recipe_.name + ".yaml", core::to_yaml(recipe_));
    ::testing::internal::CaptureStderr();
    try {
      const int code = precompute(entry_, *comm_, stop_);
      log_ = ::testing::internal::GetCapturedStderr();
      return code;
    } catch (...) {
      log_ = ::testing::internal::GetCapturedStderr();
      throw;
    }
  }
  fs::path latents_folder() const { return entry_.latents_folder() / recipe_.name; }
  void remove_latents() const { fs::remove_all(entry_.latents_folder()); }
  store::ShardReader shard(const std::string& name) const {
    return store::ShardReader(latents_folder() / name);
  }
  std::map<std::string, std::string> hashes(const std::string& ending = "") const {
    std::map<std::string, std::string> all;
    for (const auto& file : fs::recursive_directory_iterator(latents_folder()))
      if (file.is_regular_file() && file.path().string().ends_with(ending))
        all[file.path().filename().string()] = core::sha256_file(file.path());
    return all;
  }
  torch::Tensor latents(const store::ShardReader& reader, const std::string& column) const {
    std::vector<std::byte> bytes = reader.read(column);
    return torch::from_blob(bytes.data(), reader.column(column).shape, torch::kHalf)
        .clone()
        .to(torch::kFloat);
  }
  /// The latents of one record, found by its key.
  torch::Tensor latents_of(const std::string& file, int record, int size) const {
    const store::ShardReader reader = shard(file);
    const auto keys = store::read_strings(reader, "key");
    const auto at = std::ranges::find(keys, fmt::format("{:02}", record)) - keys.begin();
    const std::string column = fmt::format("latents_{}", size);
    const std::int32_t row = reader.read_as<std::int32_t>(column + "_row").at(static_cast<std::size_t>(at));
    return row < 0 ? torch::Tensor() : latents(reader, column)[row];
  }
  bool logged(const std::string& text) const { return log_.find(text) != std::string::npos; }

  CatalogueEntry entry_;
  Recipe recipe_;
  std::string log_;
  core::StopFlag stop_;
  std::unique_ptr<comm::Communicator> comm_ = comm::make_local_communicator();
};

}  // namespace microdit::ingest
