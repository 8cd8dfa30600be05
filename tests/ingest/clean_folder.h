// A data root with small archives, and the stages on it, in one process.
#pragma once

#include <cstdlib>
#include <map>
#include <string>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "image/encode.h"
#include "ingest/stages.h"
#include "store/manifest.h"
#include "store/shard.h"
#include "tar_writer.h"

namespace microdit::ingest {

namespace fs = std::filesystem;

inline std::string png(std::int64_t width, std::int64_t height, std::uint8_t grey) {
  const auto bytes = image::encode_png(image::Image(height, width, grey));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Clean : public InFolder {
 protected:
  void SetUp() override {
    InFolder::SetUp();
    ::setenv("MICRODIT_DATA", (folder_ / "data").c_str(), 1);
    entry_.name = "t";
    entry_.shard_records = 4;
    entry_.record.caption = {{"name", "txt"}, {"long", "json:long"}};
    entry_.captions.which = {"name", "long"};
    entry_.splits.held_out = 0.5;
    entry_.splits.group = "json:base";
  }
  void TearDown() override {
    ::unsetenv("MICRODIT_DATA");
    InFolder::TearDown();
  }
  /// `count` good records, three of a base.
  TarWriter tar_of(int begin, int count) const {
    TarWriter tar;
    for (int i = begin; i < begin + count; ++i) {
      const std::string key = fmt::format("{:03}", i);
      tar.add(key + ".json", fmt::format(R"({{"long": "long {}", "base": "b{}"}})", i, i / 3));
      tar.add(key + ".png", png(20 + i, 10, static_cast<std::uint8_t>(i)))
          .add(key + ".txt", fmt::format("name {}", i));
    }
    return tar;
  }
  void use(const std::string& name, const std::string& bytes) {
    entry_.source.urls.push_back("file://" + write(name, bytes).string());
  }
  int run_download() const { return download(entry_, *comm_, stop_); }
  int run_clean() const { return clean(entry_, *comm_, stop_); }
  /// Why an item of a stage's folder failed.
  static std::string reason(const fs::path& folder, const std::string& item) {
    return core::read_json(folder / "records" / (item + ".failed.json")).at("reason").get<std::string>();
  }
  store::Manifest samples() const { return store::Manifest::read(entry_.samples_folder()); }
  std::map<std::string, fs::file_time_type> times() const {
    std::map<std::string, fs::file_time_type> all;
    for (const auto& file : fs::recursive_directory_iterator(entry_.samples_folder()))
      if (file.is_regular_file()) all[file.path().filename().string()] = file.last_write_time();
    return all;
  }
  /// Does what "rm FILE" in a message says.
  static void do_as_printed(const std::string& message) {
    const std::size_t begin = message.find("rm /") + 3;
    ASSERT_TRUE(fs::remove(message.substr(begin, message.find(' ', begin) - begin))) << message;
  }
  /// Name -> SHA-256 of every file of the samples folder, hidden ones too.
  std::map<std::string, std::string> hashes() const {
    std::map<std::string, std::string> all;
    for (const auto& file : fs::recursive_directory_iterator(entry_.samples_folder())) {
      if (file.is_regular_file()) all[file.path().filename().string()] = core::sha256_file(file.path());
    }
    return all;
  }
  CatalogueEntry entry_;
  core::StopFlag stop_;
  std::unique_ptr<comm::Communicator> comm_ = comm::make_local_communicator();
};

}  // namespace microdit::ingest
