// What a host's answers to several files say of the host, and for how long it is waited for: hours are parts of a second here.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "ingest/host_silence.h"
#include "ingest/http.h"
#include "ingest/not_before.h"
#include "loopback.h"
#include "tar_writer.h"

namespace microdit::ingest {
namespace {

using Kind = Silence::Kind;

Silence::Clock::time_point at(double seconds) {
  return Silence::Clock::time_point(std::chrono::milliseconds(1'000'000 + static_cast<int>(seconds * 1000)));
}

TEST(HostSilence, EachKindHasItsOwnLimit) {
  Silence silence;
  for (int minute = 0; minute <= 240; ++minute) {
    silence.failed(Kind::mute, false, at(60 * minute), at(60 * minute));
    silence.pause(60);
  }
  EXPECT_EQ(silence.seconds(), 4 * 3600);
  EXPECT_FALSE(silence.is_over({})) << "a day is waited for who does not answer";
  int minute = 241;
  for (; !silence.is_over({}) && minute < 1000; ++minute) {
    silence.failed(Kind::busy, false, at(60 * minute), at(60 * minute));
    silence.pause(60);
  }
  EXPECT_EQ(minute, 241 + 120) << "two hours who answers that it is busy";
}

TEST(HostSilence, TimeInWhichNobodyAsksIsNone) {
  Silence silence;
  silence.failed(Kind::busy, false, at(0), at(1));
  silence.pause(60);
  silence.failed(Kind::busy, false, at(3 * 3600), at(3 * 3600 + 2));
  EXPECT_LT(silence.seconds(), 180);
  EXPECT_FALSE(silence.is_over({}));
}

TEST(HostSilence, BytesOfAnotherFileAreService) {
  Silence silence;
  for (int minute = 0; minute < 300; ++minute) {
    silence.failed(Kind::busy, false, at(60 * minute), at(60 * minute));
    silence.pause(60);
    silence.bytes_came(at(60 * minute + 30));
  }
  EXPECT_LE(silence.seconds(), 60);
  EXPECT_EQ(silence.count(), 300) << "pauses go on growing";
}

TEST(HostSilence, RequestsThatWereUnderWayTogetherAreOne) {
  Silence silence;
  for (int i = 0; i < 4; ++i) silence.failed(Kind::mute, i == 0, at(0), at(30 + i));
  EXPECT_EQ(silence.count(), 1);
  silence.failed(Kind::mute, true, at(40), at(50));
  EXPECT_EQ(silence.count(), 2);
  EXPECT_EQ(silence.hang_ups(), 2);
  EXPECT_EQ(silence.seconds(), 50);
}

/// Answers each request on a thread of its own with what `answer` sends.
class ScriptServer {
 public:
  /// `question`: what is asked to learn whether a file is served at all.
  using Answer = std::function<void(int client, const std::string& path, bool question)>;
  explicit ScriptServer(Answer answer)
      : answer_(std::move(answer)), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    url_ = fmt::format("http://127.0.0.1:{}/", listen_on_loopback(listener_, 64));
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  const std::string& url() const { return url_; }

 private:
  void serve() {
    std::vector<std::jthread> clients;
    for (int client; (client = ::accept(listener_, nullptr, nullptr)) >= 0;) {
      clients.emplace_back([this, client] {
        char text[4096];
        const ssize_t got = ::recv(client, text, sizeof text, 0);
        const std::string request(text, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
        const std::size_t begin = request.find('/') + 1, end = request.find(' ', begin);
        if (got > 0)
          answer_(client, request.substr(begin, end - begin),
                  request.find("Range: bytes=0-0") != request.npos);
        ::close(client);
      });
    }
  }
  Answer answer_;
  int listener_;
  std::string url_;
  std::thread thread_;
};

void send_text(int client, const std::string& text) {
  ::send(client, text.data(), text.size(), MSG_NOSIGNAL);
}
void send_file(int client) {
  send_text(client, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
}
void send_status(int client, const std::string& status) {
  send_text(client, "HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n");
}

class HttpHosts : public InFolder {
 protected:
  /// Fetches a file as a stage does, once: its bytes are there, or what fetch() throws.
  void fetch(HttpClient& client, const ScriptServer& server, const std::string& name) {
    client.check_turn(server.url() + name);
    std::optional<PartialFile> partial =
        PartialFile::open(folder_ / name, [](std::span<const std::byte>) { return std::string(); });
    client.fetch({.url = server.url() + name}, *partial, stop_);
    partial->require_head();
  }
  /// The same, as often as it is set aside.
  void fetch_in_the_end(HttpClient& client, const ScriptServer& server, const std::string& name) {
    for (;;) {
      try {
        return fetch(client, server, name);
      } catch (const NotBefore& until) {
        std::this_thread::sleep_until(until.time);
      }
    }
  }
  const core::StopFlag stop_;
};

TEST_F(HttpHosts, AHostThatIsServingAFileIsNotSilent) {
  std::atomic<int> connections = 0;
  ScriptServer server([&](int client, const std::string& path, bool) {
    if (++connections > 1) {
      send_status(client, "503 Too many connections");
    } else if (path == "long") {
      send_text(client, "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n");
      for (int i = 0; i < 25; ++i) {
        send_text(client, "x");
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
    } else {
      send_file(client);
    }
    --connections;
  });
  // Pieces are passed on each second.
  HttpClient client({.max_attempts = 2, .backoff_s = 0.01, .patience = {.busy_s = 1.8}});
  std::jthread other([&] { fetch(client, server, "long"); });
  while (connections == 0) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_NO_THROW(fetch_in_the_end(client, server, "b"));
}

TEST_F(HttpHosts, AHostThatIsAskedOnceMoreIsJudgedByWhatItServed) {
  std::atomic<bool> away = false;
  ScriptServer server([&](int client, const std::string& path, bool) {
    if (away || path == "bad")
      send_status(client, "503 Busy");
    else
      send_file(client);
  });
  HttpClient client({.max_attempts = 2, .backoff_s = 0.01, .patience = {.busy_s = 0.2}});
  fetch(client, server, "a");
  away = true;
  expect_error<core::UserError>([&] { fetch_in_the_end(client, server, "bad"); }, {"no service for"});
  away = false;
  expect_error<core::UserError>([&] { fetch_in_the_end(client, server, "bad"); },
                                {"/bad: gave up after 2 attempts"});
  EXPECT_NO_THROW(fetch(client, server, "c"));
}

TEST_F(HttpHosts, SeveralFilesInARowWithoutAByteAreTheHosts) {
  for (const char* const status : {"503 Busy", "500 Oops"}) {
    for (const bool cached : {true, false}) {  // whether what came first is served meanwhile
      std::atomic<int> requests = 0;
      ScriptServer server([&](int client, const std::string& path, bool) {
        if (path == "a" && (cached || requests == 0)) return send_file(client);
        if (++requests <= 7) return send_status(client, status);
        send_file(client);
      });
      HttpClient client({.max_attempts = 2, .backoff_s = 0.01, .longest_wait_s = -1});
      fetch(client, server, "a");
      requests = 1;
      std::set<std::string> left{"b", "c", "d"};
      while (!left.empty()) {
        const std::set<std::string> round = left;
        for (const std::string& name : round) {
          try {
            fetch(client, server, name);
            left.erase(name);
          } catch (const NotBefore&) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
          }
        }
      }
    }
  }
}

TEST_F(HttpHosts, AKnownHostThatSendsHeaderLinesAloneIsWaitedFor) {
  std::atomic<int> requests = 0;
  ScriptServer server([&](int client, const std::string&, bool) {
    const int request = ++requests;
    if (request == 1 || request > 5) return send_file(client);
    send_text(client, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  });
  HttpClient client({.max_attempts = 2, .backoff_s = 0.01, .slow_window_s = 0.2});
  fetch(client, server, "a");
  EXPECT_NO_THROW(fetch_in_the_end(client, server, "b"));
  EXPECT_GE(requests, 6);
}

}  // namespace
}  // namespace microdit::ingest
