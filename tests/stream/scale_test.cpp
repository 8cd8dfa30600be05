// What opening costs does not grow with the samples.
#include <gmock/gmock.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <set>

#include "core/atomic_file.h"
#include "store/manifest_text.h"
#include "store/open_counter.h"
#include "stream/stream_folder.h"

namespace microdit::stream {
namespace {

using ScaleTest = StreamFolder;

std::int64_t resident_kb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6));
  return 0;
}

void make_many(const std::filesystem::path& folder, const FolderShape& shape, int shards) {
  make_folder(folder, shape);
  const store::Manifest one = store::Manifest::read(folder);
  store::Standing standing;
  for (int i = 0; i < shards; ++i)
    for (store::Record record : one.records) {
      const std::string item = "part-" + std::to_string(200000 + i) + record.item.substr(11);
      std::filesystem::create_hard_link(folder / record.shards[0].file, folder / (item + ".h5"));
      record.item = item;
      record.shards[0].file = item + ".h5";
      standing.lines += store::record_text(record);
    }
  const std::string text = store::manifest_text(one.facts, 2, standing);
  store::write_latent_index(folder, store::parse_manifest(text, "manifest"));
  core::atomic_write(folder / "manifest.2.jsonl", text);
  core::atomic_write(folder / "manifest.jsonl", text);
}

// Many shards of many rows: all of them links to one pair of files, with an index made from them. MICRODIT_SCALE_SHARDS=20000
// (scripts/stream_scale.sh) is 100 million samples.
TEST_F(ScaleTest, ManyShardsOpenAtOnce) {
  const char* given = std::getenv("MICRODIT_SCALE_SHARDS");
  const int shards = given ? std::stoi(given) : 300;
  shape.shards = 1;
  shape.rows = 5000;
  shape.text_rows = 5000;
  shape.held_out_every = 1'000'000;
  // In a process of its own: what it leaves free in memory would hide what opening takes.
  const pid_t maker = ::fork();
  if (maker == 0) {
    make_many(folder / "a", shape, shards);
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(maker, &status, 0), maker);
  ASSERT_EQ(status, 0);
  EXPECT_LE(std::filesystem::file_size(folder / "a" / "index.2.bin"),
            static_cast<std::uint64_t>(shards) * 512);

  StreamConfig config = config_of();
  config.shuffle_run = 32;
  OpenCounter counter(folder / "a");
  const std::int64_t before_kb = resident_kb();
  const auto start = std::chrono::steady_clock::now();
  const LatentStream stream(config);
  const double open_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::int64_t grown_kb = resident_kb() - before_kb;
  const auto opened = counter.opened();
  EXPECT_LE(opened.size(), 3U);
  EXPECT_LE(grown_kb, 64 << 10);
  EXPECT_EQ(stream.num_samples(), std::int64_t{5000} * shards);
  const Batch batch = stream.read(0, 2048);
  std::set<std::string> files;
  for (const std::string& name : counter.opened())
    if (name.ends_with("images.h5")) files.insert(name);
  EXPECT_GE(files.size(), 50U);
  if (given) {
    std::printf(
        "%d shards, %lld samples: open %.2f s, %lld KiB more resident, %zu files opened; 2,048 rows from %zu "
        "shards\n",
        shards, static_cast<long long>(stream.num_samples()), open_s, static_cast<long long>(grown_kb),
        opened.size(), files.size());
    EXPECT_GE(files.size(), 60U);
    EXPECT_LE(open_s, 2);
  }
}

}  // namespace
}  // namespace microdit::stream
