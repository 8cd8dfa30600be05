// What fits in memory is brought into the page cache by itself, in order; nothing else is.
#include "stream/preload.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <vector>

#include "stream/stream_folder.h"

namespace microdit::stream {
namespace {

constexpr std::size_t kPage = 4096;

class PreloadTest : public StreamFolder {
 protected:
  // Larger latents than the stream reads, too, so that rows alone bring in a part.
  void SetUp() override {
    shape.side = 32;
    make_folder(folder / "a", shape);
    forget();
  }
  std::vector<std::filesystem::path> shards() const {
    std::vector<std::filesystem::path> all;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "a"))
      if (entry.path().extension() == ".h5") all.push_back(entry.path());
    return all;
  }
  void forget() const {
    for (const auto& file : shards()) {
      const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
      ::fsync(fd);
      ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
      ::close(fd);
    }
  }
  double cached_share() const {
    std::size_t cached = 0, all = 0;
    for (const auto& path : shards()) {  // mincore, as a look by reading would bring in
      const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      const std::size_t bytes = std::filesystem::file_size(path);
      void* const at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
      std::vector<unsigned char> pages((bytes + kPage - 1) / kPage);
      EXPECT_EQ(::mincore(at, bytes, pages.data()), 0);
      ::munmap(at, bytes);
      ::close(fd);
      for (const unsigned char page : pages) cached += page & 1;
      all += pages.size();
    }
    return static_cast<double>(cached) / static_cast<double>(all);
  }
  /// After one batch and, where all may still come, a while.
  double share_after(const StreamConfig& config) const {
    LatentStream stream(config);
    stream.start(0, 1, 1, 1);
    stream.next();
    for (int i = 0; config.reading.preload && cached_share() < 1 && i < 500; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return cached_share();
  }
};

TEST_F(PreloadTest, AllOfItIsInMemorySoon) {
  if (cached_share() > 0.5) GTEST_SKIP() << "this file system keeps everything in memory";
  StreamConfig config = config_of("a", 256);
  config.shuffle_run = 1;
  EXPECT_LT(share_after(config), 0.9);
  forget();
  config.reading.preload = true;
  EXPECT_EQ(share_after(config), 1);
}

TEST_F(PreloadTest, NotWhereItWouldBeInTheWay) {
  if (cached_share() > 0.5) GTEST_SKIP() << "this file system keeps everything in memory";
  const auto share = [&](auto change) {
    forget();
    StreamConfig config = config_of("a", 256);
    config.reading.preload = true;
    change(config);
    LatentStream stream(config);
    stream.start(0, 1, 1, 1);
    stream.next();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return cached_share();
  };
  EXPECT_LT(share([](StreamConfig& c) { c.shuffle_run = 32; }), 0.9);
  EXPECT_LT(share([](StreamConfig& c) { c.reading.rules.keep_pages = false; }), 0.9);
}

TEST_F(PreloadTest, EndsAtOnceAndOverlooksWhatIsMissing) {
  std::vector<std::filesystem::path> files(100000, shards().front());
  files.insert(files.begin(), folder / "absent");
  const auto begin = std::chrono::steady_clock::now();
  { const Preload preload(files); }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace microdit::stream
