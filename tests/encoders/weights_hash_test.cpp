// When a kept hash counts, where it is kept, and that a stop is heard while a file is hashed.
#include "encoders/weights_hash.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "core/atomic_file.h"
#include "core/hash.h"
#include "core/json.h"
#include "encoders/temporary_folder.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

class WeightsHash : public testing::Test {
 protected:
  WeightsHash() {
    ::setenv("MICRODIT_DATA", (place_.path() / "data").c_str(), 1);
    fs::create_directory(place_.path() / "model");
    write_file(file(), "weights of one kind");
  }
  ~WeightsHash() override { ::unsetenv("MICRODIT_DATA"); }
  fs::path file() const { return place_.path() / "model/model.safetensors"; }
  fs::path beside() const { return file().parent_path() / kHashFile; }
  fs::path of_others() const { return place_.path() / "data/weights" / kHashFileOfOthers; }
  /// Another hash in the place of the kept one: whoever gets it has not hashed the file.
  static void plant(const fs::path& kept, const std::string& name) {
    core::Json all = core::read_json(kept);
    all.at(name)["sha256"] = "planted";
    core::write_json(kept, all);
  }
  TemporaryFolder place_;
};

TEST_F(WeightsHash, IsKeptBesideTheFile) {
  EXPECT_EQ(weights_sha256(file()), core::sha256_file(file()));
  plant(beside(), "model.safetensors");
  EXPECT_EQ(weights_sha256(file()), "planted");
  EXPECT_FALSE(fs::exists(of_others()));
}

TEST_F(WeightsHash, IsKeptBelowTheDataWhereTheFolderCannotBeWritten) {
  fs::create_directories(beside() / "in the way");
  EXPECT_EQ(weights_sha256(file()), core::sha256_file(file()));
  ASSERT_TRUE(fs::exists(of_others()));
  plant(of_others(), file().string());
  EXPECT_EQ(weights_sha256(file()), "planted");
}

TEST_F(WeightsHash, AFileOfEqualSizeAndTimeInItsPlaceIsAnother) {
  const auto time = fs::last_write_time(file());
  const std::string before = weights_sha256(file());
  const fs::path other = place_.path() / "other";
  write_file(other, "weights of two kind");
  fs::last_write_time(other, time);
  fs::rename(other, file());
  ASSERT_EQ(fs::last_write_time(file()), time);
  EXPECT_NE(weights_sha256(file()), before);
  const std::string second = weights_sha256(file());
  write_file(file(), "weights of ten kind");  // in place
  fs::last_write_time(file(), time);
  EXPECT_NE(weights_sha256(file()), second);
}

TEST_F(WeightsHash, AStopIsHeard) {
  core::StopFlag stop;
  stop.request();
  EXPECT_THROW(weights_sha256(file(), stop), core::Stopped);
  EXPECT_FALSE(fs::exists(beside()));
}

}  // namespace
}  // namespace microdit::encoders
