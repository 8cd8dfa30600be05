// A drip and a full disk: what the client says, with a shorter window than a user's.
#include "ingest/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "core/error.h"
#include "ingest/not_before.h"
#include "ingest/rate_gate.h"
#include "loopback.h"
#include "tar_writer.h"

namespace microdit::ingest {
namespace {

/// Answers every request with a file of `bytes`, `piece` bytes every 20 ms.
class PieceServer {
 public:
  PieceServer(std::size_t bytes, std::size_t piece)
      : bytes_(bytes), piece_(piece, 'x'), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    port_ = listen_on_loopback(listener_);
    thread_ = std::thread([this] { serve(); });
  }
  ~PieceServer() {
    ending_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}/a.bin", port_); }
  int requests() const { return requests_; }

 private:
  void serve() {
    for (int client; (client = ::accept(listener_, nullptr, nullptr)) >= 0; ::close(client)) {
      ++requests_;
      char request[4096];
      if (::recv(client, request, sizeof request, 0) <= 0) continue;
      const std::string head = fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes_);
      ::send(client, head.data(), head.size(), MSG_NOSIGNAL);
      for (std::size_t sent = 0; !ending_ && sent < bytes_; sent += piece_.size()) {
        if (::send(client, piece_.data(), piece_.size(), MSG_NOSIGNAL) <= 0) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    }
  }
  std::size_t bytes_;
  std::string piece_;
  int listener_, port_ = 0;
  std::atomic<bool> ending_ = false;
  std::atomic<int> requests_ = 0;
  std::thread thread_;
};

using Http = InFolder;

TEST_F(Http, ADripIsCutAndGivenUp) {
  PieceServer server(1'000'000'000, 1);
  HttpClient client({.max_attempts = 2, .backoff_s = 0.01, .slow_window_s = 0.3});
  const core::StopFlag stop;
  std::optional<PartialFile> partial =
      PartialFile::open(folder_ / ".a.part", [](std::span<const std::byte>) { return std::string(); });
  ASSERT_TRUE(partial.has_value());
  expect_error<core::UserError>([&] { client.fetch({.url = server.url()}, *partial, stop); },
                                {"gave up after 2 attempts", "slower than 16 KiB/s", "/a.bin"});
  EXPECT_EQ(server.requests(), 2);
}

TEST_F(Http, AFileIsWrittenInLargePieces) {
  PieceServer server(16 << 20, 1 << 20);
  HttpClient client({.max_attempts = 1});
  const core::StopFlag stop;
  std::optional<PartialFile> partial =
      PartialFile::open(folder_ / ".a.part", [](std::span<const std::byte>) { return std::string(); });
  ASSERT_TRUE(partial.has_value());
  int pieces = 0;  // each of them is one write
  client.fetch({.url = server.url(), .on_bytes = [&](double) { ++pieces; }}, *partial, stop);
  EXPECT_EQ(partial->bytes(), 16U << 20);
  EXPECT_LT(pieces, 64);  // libcurl hands out 1024
}

TEST_F(Http, ALongWaitIsHandedBackAndItsAttemptsAreCountedOn) {
  PieceServer server(1'000'000'000, 1);
  HttpClient client({.max_attempts = 3, .backoff_s = 0.01, .slow_window_s = 0.3, .longest_wait_s = -1});
  const core::StopFlag stop;
  std::optional<PartialFile> partial =
      PartialFile::open(folder_ / ".a.part", [](std::span<const std::byte>) { return std::string(); });
  ASSERT_TRUE(partial.has_value());
  for (int attempt = 1; attempt < 3; ++attempt)
    EXPECT_THROW(client.fetch({.url = server.url()}, *partial, stop), NotBefore);
  expect_error<core::UserError>([&] { client.fetch({.url = server.url()}, *partial, stop); },
                                {"gave up after 3 attempts"});
  EXPECT_EQ(server.requests(), 3);
}

TEST_F(Http, AHostThatTakesConnectionsAndSaysNothingIsGivenUpAsAWhole) {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);  // nobody accepts
  const std::string host = fmt::format("http://127.0.0.1:{}", listen_on_loopback(listener));
  HttpClient client({.max_attempts = 2, .backoff_s = 0.01, .slow_window_s = 0.3});
  const core::StopFlag stop;
  const auto fetch = [&](const std::string& name) {
    client.check_turn(host + "/" + name);
    std::optional<PartialFile> partial =
        PartialFile::open(folder_ / name, [](std::span<const std::byte>) { return std::string(); });
    client.fetch({.url = host + "/" + name}, *partial, stop);
  };
  EXPECT_THROW(fetch("a"), NotBefore);
  EXPECT_TRUE(sleep_unless_stopped(0.1, stop));
  expect_error<core::UserError>([&] { fetch("b"); }, {"/b", "gave up after 2 attempts"});
  expect_error<core::UserError>([&] { fetch("c"); },
                                {"/c: not asked for, as", host.c_str(), "does not answer"});
  expect_error<core::UserError>([&] { fetch("a"); }, {"/a", "not asked for"});
  EXPECT_THROW(fetch("a"), NotBefore);  // who comes again asks anew
  ::close(listener);
}

// A file may take longer than a life.
TEST_F(Http, BytesOnDiskAreProgress) {
  std::optional<PartialFile> partial =
      PartialFile::open(folder_ / ".a.part", [](std::span<const std::byte>) { return std::string(); });
  ASSERT_TRUE(partial.has_value());
  const std::filesystem::path progress = folder_ / "progress";
  const auto makes_progress = [&](const char* version, int blocks) {
    std::filesystem::remove(progress);
    partial->begin({version, "", -1}, -1);
    const std::vector<std::byte> block(1 << 20);
    for (int i = 0; i < blocks && !std::filesystem::exists(progress); ++i) partial->append(block);
    return std::filesystem::exists(progress);
  };
  ::setenv("MICRODIT_PROGRESS", progress.c_str(), 1);
  EXPECT_TRUE(makes_progress("\"v1\"", 130));
  EXPECT_FALSE(makes_progress("\"v2\"", 100)) << "what comes instead of what was there is none";
  EXPECT_TRUE(makes_progress("\"v3\"", 130)) << "what comes beyond it is";
  ::unsetenv("MICRODIT_PROGRESS");
}

TEST_F(Http, OnePartialFileHasOneWriter) {
  const HeadCheck any = [](std::span<const std::byte>) { return std::string(); };
  std::optional<PartialFile> first = PartialFile::open(folder_ / ".a.part", any);
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(PartialFile::open(folder_ / ".a.part", any).has_value());
  first.reset();
  EXPECT_TRUE(PartialFile::open(folder_ / ".a.part", any).has_value());
}

TEST_F(Http, AMarkWithoutBytesIsNoVersion) {
  const HeadCheck any = [](std::span<const std::byte>) { return std::string(); };
  write(".a.part.etag", "\"old\"");  // of a life that ended before its first byte
  std::optional<PartialFile> life = PartialFile::open(folder_ / ".a.part", any);
  life->begin({}, 5);
  life->append(std::as_bytes(std::span(std::string_view("he"))));
  EXPECT_EQ(life->version(), FileVersion());
}

TEST_F(Http, TheHubsQuotaIsKeptBeforeThereIsAnyData) {
  RateGate gate(folder_ / "data" / "raw" / ".quota.json", true);
  EXPECT_EQ(gate.turn("https://hub.example/api/datasets/a"), 0);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "data" / "raw" / ".quota.json"));
}

TEST_F(Http, TheHashIsThatOfTheFileHoweverItCame) {
  const HeadCheck any = [](std::span<const std::byte>) { return std::string(); };
  const std::string bytes = "hello";
  {
    std::optional<PartialFile> life = PartialFile::open(folder_ / ".a.part", any);
    life->begin({"\"v1\"", "", 5}, 5);
    life->append(std::as_bytes(std::span(bytes).first(2)));
  }
  std::optional<PartialFile> life = PartialFile::open(folder_ / ".a.part", any);
  EXPECT_EQ(life->version(), (FileVersion{"\"v1\"", "", 5}));
  life->append(std::as_bytes(std::span(bytes).subspan(2)));
  core::StopFlag stopped;
  stopped.request();
  EXPECT_FALSE(life->sha256(stopped).has_value());
  EXPECT_EQ(life->sha256(core::StopFlag()), core::sha256_file(folder_ / ".a.part"));
  life->begin({}, 5);  // no validator: the earlier one goes when bytes come
  EXPECT_EQ(life->bytes(), 0U);
  EXPECT_TRUE(std::filesystem::exists(folder_ / ".a.part.etag"));
  life->take_back();
  EXPECT_EQ(life->bytes(), 5U);
  EXPECT_EQ(life->version(), (FileVersion{"\"v1\"", "", 5}));
  life->begin({}, 5);
  life->append(std::as_bytes(std::span(bytes)));
  life->require_head();
  EXPECT_EQ(life->bytes(), 5U);
  EXPECT_FALSE(std::filesystem::exists(folder_ / ".a.part.etag"));
}

TEST_F(Http, ADiskKeepsSomeRoom) {
  require_free_space(folder_, 0);
  expect_error<core::UserError>(
      [&] { require_free_space(folder_, 1ULL << 60); },  // a smaller file may find room
      {"must stay free", "MICRODIT_DATA"});
}

}  // namespace
}  // namespace microdit::ingest
