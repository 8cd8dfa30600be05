// Which files of a folder are opened.
#pragma once

#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <set>
#include <string>

namespace microdit {

/// Counts the files of a folder that are opened while it lives.
class OpenCounter {
 public:
  explicit OpenCounter(const std::filesystem::path& folder) : fd_(::inotify_init1(IN_NONBLOCK)) {
    EXPECT_GE(::inotify_add_watch(fd_, folder.c_str(), IN_OPEN), 0);
  }
  ~OpenCounter() { ::close(fd_); }
  /// Since it was made, or last asked.
  std::multiset<std::string> opened() const {
    std::multiset<std::string> names;
    alignas(inotify_event) std::array<char, 1 << 16> events;
    for (ssize_t got; (got = ::read(fd_, events.data(), events.size())) > 0;)
      for (ssize_t at = 0; at < got;) {
        const auto* event = reinterpret_cast<const inotify_event*>(&events[static_cast<std::size_t>(at)]);
        if (event->len > 0) names.insert(event->name);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      }
    return names;
  }

 private:
  int fd_;
};

}  // namespace microdit
