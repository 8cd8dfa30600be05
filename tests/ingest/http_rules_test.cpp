// A careful HTTP client's rules: headers, waits, addresses, redirects.
#include "ingest/http_rules.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace microdit::ingest {
namespace {

bool is_private(const char* text) {
  sockaddr_storage storage{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (::inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
  } else {
    EXPECT_EQ(::inet_pton(AF_INET6, text, &v6->sin6_addr), 1) << text;
    v6->sin6_family = AF_INET6;
  }
  return is_private_address(reinterpret_cast<const sockaddr*>(&storage));
}

TEST(HttpRules, PrivateAddresses) {
  for (const char* text :
       {"127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "::1", "::", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"}) {
    EXPECT_TRUE(is_private(text)) << text;
  }
  for (const char* text :
       {"8.8.8.8", "172.15.0.1", "172.32.0.1", "192.169.0.1", "2606:4700::1", "::ffff:8.8.8.8"}) {
    EXPECT_FALSE(is_private(text)) << text;
  }
}

TEST(HttpRules, RetryAfter) {
  EXPECT_EQ(parse_retry_after("120", 0), 120);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111777 - 30), 30);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111777 + 30), 0);
  EXPECT_EQ(parse_retry_after("soon", 0), -1);
}

TEST(HttpRules, BackoffIsJitteredCappedAndHonoursTheServer) {
  double longest = 0, shortest = 1e9;
  for (int i = 0; i < 200; ++i) {
    const double wait = backoff_s(1, 4, -1);
    longest = std::max(longest, wait);
    shortest = std::min(shortest, wait);
    EXPECT_LE(wait, 8);
    EXPECT_LE(backoff_s(1, 40, -1), 60);
  }
  EXPECT_GT(longest, 6);
  EXPECT_LT(shortest, 2);
  EXPECT_EQ(backoff_s(1, 1, 100), 100);
  EXPECT_EQ(backoff_s(1, 1, 1e9), 3600);
}

TEST(HttpRules, Headers) {
  ResponseHeaders headers;
  for (const char* line : {"HTTP/1.1 302 Found\r\n", "ETag: \"old\"\r\n", "HTTP/1.1 206 Partial Content\r\n",
                           "etag: \"abc\"\r\n", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                           "Content-Range: bytes 10-99/100\r\n", "Content-Length: 90\r\n"}) {
    read_header(line, headers);
  }
  EXPECT_EQ(headers.status, 206);
  EXPECT_EQ(headers.validator(), "\"abc\"");
  EXPECT_EQ(headers.range_begin, 10);
  EXPECT_EQ(headers.total_bytes(), 100);
  read_header("ETag: W/\"weak\"\r\n", headers);
  EXPECT_EQ(headers.validator(), "Sun, 06 Nov 1994 08:49:37 GMT");  // a weak one may not continue a range
  read_header("Content-Range: bytes */77\r\n", headers);
  EXPECT_EQ(headers.range_total, 77);
  EXPECT_EQ(headers.range_begin, -1);
  read_header("X-Linked-Etag: \"" + std::string(64, 'a') + "\"\r\n", headers);
  EXPECT_EQ(headers.linked_sha256, std::string(64, 'a'));
}

TEST(HttpRules, Redirects) {
  EXPECT_EQ(checked_redirect("http://a/x", "https://b/y"), "https://b/y");
  for (const char* to : {"file:///etc/passwd", "ftp://a/x", "gopher://a", ""}) {
    EXPECT_THROW(checked_redirect("http://a/x", to), core::UserError) << to;
  }
  EXPECT_THROW(checked_redirect("https://a/x", "http://a/x"), core::UserError);
  EXPECT_EQ(host_of("https://User@Host:1/p?q"), "https://user@host:1");
}

TEST(HttpRules, Statuses) {
  for (const long status : {408, 429, 500, 503, 599}) EXPECT_TRUE(is_temporary(status)) << status;
  for (const long status : {200, 206, 301, 400, 403, 404, 416}) EXPECT_FALSE(is_temporary(status)) << status;
}

}  // namespace
}  // namespace microdit::ingest
