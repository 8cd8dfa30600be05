// A careful HTTP client's rules: headers, waits, addresses, redirects.
#include "ingest/http_rules.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "ingest/address.h"
#include "ingest/rate_gate.h"

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
  for (const char* text : {"127.0.0.1",
                           "10.1.2.3",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.168.1.1",
                           "169.254.169.254",
                           "100.64.0.1",
                           "0.0.0.0",
                           "192.0.0.8",
                           "198.18.0.1",
                           "198.19.255.255",
                           "240.0.0.1",
                           "255.255.255.255",
                           "64:ff9b::808:808",
                           "2002:808:808::1",
                           "2001:0:808:808::1",
                           "ff02::1",
                           "::10.0.0.1",
                           "::1",
                           "::",
                           "fe80::1",
                           "fd00::1",
                           "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1"}) {
    EXPECT_TRUE(is_private(text)) << text;
  }
  for (const char* text : {"8.8.8.8", "198.17.0.1", "198.20.0.1", "192.0.1.1", "2001:4860::1", "172.15.0.1",
                           "172.32.0.1", "192.169.0.1", "2606:4700::1", "::ffff:8.8.8.8"}) {
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
  EXPECT_EQ(headers.version().validator(), "\"abc\"");
  EXPECT_EQ(headers.range_begin, 10);
  EXPECT_EQ(headers.total_bytes(), 100);
  read_header("ETag: W/\"weak\"\r\n", headers);
  EXPECT_EQ(headers.version().validator(),
            "Sun, 06 Nov 1994 08:49:37 GMT");  // a weak one may not continue a range
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
  for (const char* to : {"http://hub\\@evil/x", "http://user@evil/x", "http://u:p@evil", "http://a@b@evil?x"})
    EXPECT_THROW(checked_redirect("http://a/x", to), core::UserError) << to;
  EXPECT_EQ(checked_redirect("http://a/x", "http://b/y z?to=u@c"), "http://b/y%20z?to=u@c");
}

TEST(HttpRules, TrailersAndEarlierAnswersAreCountedNotRead) {
  ResponseHeaders headers;
  for (const char* line : {"HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n", "\r\n", "Content-Length: 9\r\n",
                           "HTTP/1.1 404 No\r\n"})
    read_header(line, headers);
  EXPECT_EQ(headers.status, 200);
  EXPECT_EQ(headers.content_length, 5);
  EXPECT_EQ(headers.lines, 5);
  ResponseHeaders flood;
  for (int i = 0; i < limits::kHeaderLines; ++i) read_header("HTTP/1.1 103 Early Hints\r\n", flood);
  EXPECT_FALSE(flood.is_flood());
  read_header("\r\n", flood);
  EXPECT_TRUE(flood.is_flood());
}

/// An answer's lines, what was asked -> what becomes of its body.
struct AnswerCase {
  std::vector<std::string> lines;
  std::uint64_t offset;
  std::int64_t expected_bytes;
  Body body;
};

TEST(HttpRules, OnlyWhatWasAskedForIsTaken) {
  const std::string ok = "HTTP/1.1 200 OK", part = "HTTP/1.1 206 Partial Content";
  const std::vector<AnswerCase> cases = {
      {{ok}, 0, -1, Body::from_start},
      {{ok, "Content-Length: 7"}, 5, -1, Body::from_start},  // Range was not heeded
      {{ok, "Content-Length: 7"}, 0, 8, Body::refused},      // the listing says otherwise
      {{ok, "Content-Length: 7"}, 5, 8, Body::restart},
      {{ok, "Content-Length: 2000000000"}, 0, -1, Body::refused},
      {{ok, "Content-Range: bytes 5-9/10"}, 5, -1, Body::continues},
      {{ok, "Content-Range: bytes 0-4/10"}, 0, -1, Body::refused},
      {{ok, "Content-Range: bytes 0-9/10"}, 0, -1, Body::from_start},
      {{part, "Content-Range: bytes 5-9/10"}, 5, -1, Body::continues},
      {{part, "Content-Range: bytes 5-9/10"}, 0, -1, Body::refused},
      {{part, "Content-Range: bytes 4-9/10"}, 5, -1, Body::restart},
      {{part, "Content-Range: bytes 5-8/10"}, 5, -1, Body::restart},
      {{part, "Content-Range: bytes 5-9/*"}, 5, -1, Body::restart},
      {{part, "Content-Range: bytes 5-9/10", "Content-Length: 4"}, 5, -1, Body::restart},
      {{part, "Content-Range: bytes 9-5/10"}, 5, -1, Body::restart},
      {{part, "Content-Range: bytes 5-9/10", "Content-Range: bytes 5-9/11"}, 5, -1, Body::restart},
      {{part, "Content-Range: lines 5-9/10"}, 5, -1, Body::restart},
      {{part}, 5, -1, Body::restart},
      {{part}, 0, -1, Body::refused},
      {{ok, "Content-Length: 7", "Content-Length: 8"}, 0, -1, Body::refused},
      {{ok, "Content-Length: -7"}, 0, -1, Body::refused},
      {{ok, "Content-Encoding: gzip"}, 0, -1, Body::refused},
      {{ok, "Content-Encoding: Identity"}, 0, -1, Body::from_start},
      {{ok, "Transfer-Encoding: gzip, chunked"}, 0, -1, Body::refused},
      {{"HTTP/1.1 302 Found", "Content-Encoding: gzip"}, 0, -1, Body::ignored},
      {{"HTTP/1.1 404 Not Found"}, 5, -1, Body::ignored}};
  for (const AnswerCase& one : cases) {
    ResponseHeaders headers;
    for (const std::string& line : one.lines) read_header(line + "\r\n", headers);
    const Answer answer = judge_headers(
        headers, {.offset = one.offset, .expected_bytes = one.expected_bytes, .max_bytes = 1'000'000'000});
    EXPECT_EQ(answer.body, one.body) << one.lines.front() << " | " << one.lines.back() << " | " << one.offset
                                     << ": " << answer.why;
    EXPECT_EQ(answer.why.empty(), one.body != Body::restart && one.body != Body::refused);
  }
}

TEST(HttpRules, TheRestIsOfTheVersionThatIsHere) {
  const std::string date = "Sun, 06 Nov 1994 08:49:37 GMT";
  for (const auto& [version, etag, modified, body] :
       std::vector<std::tuple<FileVersion, std::string, std::string, Body>>{
           {{"\"v1\"", "", -1}, "\"v1\"", "", Body::continues},
           {{"\"v1\"", "", 10}, "\"v1\"", "", Body::continues},
           {{"\"v1\"", "", 11}, "\"v1\"", "", Body::restart},  // the answer's total is 10
           {{"\"v1\"", "", -1}, "\"v2\"", "", Body::restart},
           {{"\"v1\"", date, -1}, "\"v2\"", date, Body::restart},
           {{"\"v1\"", "", -1}, "W/\"v1\"", "", Body::restart},
           {{"\"v1\"", "", -1}, "", date, Body::restart},      // it has to come back
           {{"0x8D", "", -1}, "0x8D", date, Body::continues},  // as some send it
           {{"0x8D", "", -1}, "0x8E", date, Body::restart},
           {{"20260105", "", -1}, "20260106", "", Body::restart},  // a tag that reads as a date
           {{"", date, 10}, "", date, Body::continues},
           {{"", date, 12}, "", date, Body::restart},
           {{"", date, -1}, "\"v2\"", date, Body::continues},
           {{"", date, -1}, "\"v2\"", "", Body::continues},  // a date need not
           {{"W/\"1\"", date, -1}, "W/\"1\"", date, Body::continues},
           {{"W/\"1\"", date, -1}, "W/\"2\"", date, Body::restart},
           {{"", "Mon, 05 Jan 2026 10:00:00 +0000", -1},
            "",
            "Tue, 06 Jan 2026 10:00:00 +0000",
            Body::restart},
           {{"", "2026-01-05T10:00:00Z", -1}, "W/\"v1\"", "2026-01-05T10:00:00Z", Body::continues},
           {{"", "2026-01-05T10:00:00Z", -1}, "W/\"v1\"", "2026-01-06T10:00:00Z", Body::restart},
           {{"", date, -1}, "", "Mon, 07 Nov 1994 08:49:37 GMT", Body::restart}}) {
    ResponseHeaders headers;
    for (const std::string& line :
         {std::string("HTTP/1.1 206 Partial Content"), std::string("Content-Range: bytes 5-9/10"),
          "ETag: " + etag, "Last-Modified: " + modified})
      read_header(line + "\r\n", headers);
    EXPECT_EQ(judge_headers(headers, {.offset = 5, .version = version}).body, body)
        << to_text(version) << etag << " " << modified;
  }
}

TEST(HttpRules, ADripIsSlow) {
  const auto at = [](double s) {
    return SpeedRule::Clock::time_point(std::chrono::milliseconds(static_cast<int>(s * 1000)));
  };
  SpeedRule rule(60, at(0));
  EXPECT_FALSE(rule.too_slow(0, at(59)));
  EXPECT_FALSE(rule.too_slow(16 * 1024 * 60, at(60)));
  EXPECT_FALSE(rule.too_slow(16 * 1024 * 60 + 1, at(119)));
  EXPECT_TRUE(rule.too_slow(16 * 1024 * 60 + 60, at(120)));
}

TEST(HttpRules, OnlyAMebibyteIsProgress) {
  Attempts attempts(0);
  EXPECT_EQ(attempts.failed(1), 1);
  EXPECT_EQ(attempts.failed(1000), 2);
  EXPECT_EQ(attempts.failed(limits::kProgressBytes), 1);
  EXPECT_EQ(attempts.failed(2 * limits::kProgressBytes - 1), 2);
  attempts.forgive();
  EXPECT_EQ(attempts.failed(2 * limits::kProgressBytes - 1), 2);
  EXPECT_EQ(attempts.failed(0), 3);  // begun anew
  EXPECT_EQ(attempts.failed(2 * limits::kProgressBytes), 1);
}

TEST(HttpRules, HowLongAServerAsksToBeLeftAlone) {
  const auto wait_s = [](const char* status, std::vector<const char*> lines) {
    ResponseHeaders headers;
    read_header(status, headers);
    for (const char* line : lines) read_header(line, headers);
    return headers.wait_s();
  };
  const char *busy = "HTTP/1.1 429 Too Many\r\n", *limit = "RateLimit: \"api\";r=0;t=55\r\n";
  EXPECT_EQ(wait_s(busy, {}), -1);
  EXPECT_EQ(wait_s(busy, {limit}), 55);
  EXPECT_EQ(wait_s(busy, {limit, "Retry-After: 70\r\n"}), 70);
  EXPECT_EQ(wait_s(busy, {"Retry-After: 7\r\n", limit}), 55);
  EXPECT_EQ(wait_s("HTTP/1.1 503 Busy\r\n", {limit}), -1);
  EXPECT_EQ(wait_s("HTTP/1.1 503 Busy\r\n", {"Retry-After: 7\r\n", limit}), 7);
}

TEST(HttpRules, Quotas) {
  ResponseHeaders headers;
  for (const char* line : {"HTTP/2 200\r\n", "RateLimit: \"resolvers\";r=1;t=120\r\n",
                           "ratelimit-policy: \"fixed window\";\"resolvers\";q=3000;w=300\r\n"})
    read_header(line, headers);
  Quota quota;
  EXPECT_EQ(take_request(quota, 1000), 0);  // nothing is known yet
  note_answer(quota, headers, 1000);
  EXPECT_EQ(quota.size, 3000);
  EXPECT_EQ(quota.window_s, 300);
  EXPECT_EQ(take_request(quota, 1000), 0);
  EXPECT_EQ(take_request(quota, 1010), 110);
  EXPECT_EQ(take_request(quota, 1120), 0);
  EXPECT_EQ(quota.remaining, 2999);
  ResponseHeaders refused;
  for (const char* line : {"HTTP/1.1 429 Too Many\r\n", "Retry-After: 30\r\n"}) read_header(line, refused);
  note_answer(quota, refused, 1130);
  EXPECT_EQ(take_request(quota, 1130), 30);
}

TEST(Addresses, WhatIsShownHoldsNoSecret) {
  EXPECT_EQ(shown("https://user:pw@Host:1/a/b.tar?sig=x#y"), "https://Host:1/a/b.tar");
  EXPECT_EQ(shown("https://host?sig=x"), "https://host");
  EXPECT_EQ(origin_of("HTTPS://User@Host:443/p?q"), "https://host");
  EXPECT_EQ(origin_of("http://h:81"), "http://h:81");
  EXPECT_EQ(host_name_of("http://[FD00::1]:80/x"), "fd00::1");
  EXPECT_EQ(host_name_of("http://good.example\\@evil.example/"), "evil.example");  // as libcurl reads it
  EXPECT_EQ(escaped_url("http://h/a b%20c?x=\"|\"", ""), "http://h/a%20b%20c?x=%22%7C%22");
  EXPECT_THROW(escaped_url("http://h/a\r\nX: y", "o"), core::UserError);
  EXPECT_EQ(escaped_path("a b/c?#%.tar"), "a%20b/c%3F%23%25.tar");
  EXPECT_EQ(path_of_file_url("file:///d/a%20b%2"), "/d/a b%2");
  EXPECT_THROW(path_of_file_url("file:///d/a%00"), core::UserError);
}

TEST(Addresses, PrivateHostsAreTheEntrysOwnNumbersAndTheAllowed) {
  const PrivateHosts own({"Mirror.site"}, "http://10.0.0.1:8/x");
  EXPECT_TRUE(own.allow("10.0.0.1") && own.allow("mirror.site"));
  EXPECT_FALSE(own.allow("10.0.0.2") || own.allow("localhost"));
  EXPECT_FALSE(PrivateHosts({}, "http://name.example/").allow("name.example"));
  EXPECT_TRUE(is_private_literal("foo.localhost"));  // wherever it is looked up: a proxy's own, too
  EXPECT_FALSE(is_private_literal("foolocalhost") || is_private_literal("localhost.example"));
  EXPECT_TRUE(is_private_literal("localhost") && is_private_literal("fe80::1%eth0"));
  EXPECT_FALSE(is_private_literal("8.8.8.8") || is_private_literal("10.0.0.1.example"));
  EXPECT_TRUE(is_loopback_literal("127.9.9.9") && is_loopback_literal("::1"));
  EXPECT_FALSE(is_loopback_literal("10.0.0.1"));
}

TEST(HttpRules, Statuses) {
  for (const long status : {408, 429, 500, 503, 599}) EXPECT_TRUE(is_temporary(status)) << status;
  for (const long status : {200, 206, 301, 400, 403, 404, 416}) EXPECT_FALSE(is_temporary(status)) << status;
}

}  // namespace
}  // namespace microdit::ingest
