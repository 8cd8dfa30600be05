// What is asked of an address: a file, a text, its length, its speed.
#include "ingest/http.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "ingest/address.h"
#include "ingest/http_fetch.h"

namespace microdit::ingest {
namespace {

constexpr auto kAnswerHolds = std::chrono::seconds(60);

}  // namespace

HttpClient::HttpClient(HttpOptions options) : options_(std::move(options)) {
  if (const std::string file = certificate_file(); !file.empty() && ::access(file.c_str(), R_OK) != 0)
    core::user_error("CURL_CA_BUNDLE or SSL_CERT_FILE: {}: cannot be read ({})", file, std::strerror(errno));
}

bool HttpClient::still_serves(const std::string& origin, const std::string& first,
                              const core::StopFlag& stop) {
  std::string url;
  {
    const std::lock_guard lock(mutex_);
    url = hosts_[origin].served_url;
    if (url.empty()) {
      url = hosts_[first].served_url;  // an earlier life's: who served it then is not kept
      const auto last = hosts_[origin].asked_by_another;
      if (last && Clock::now() - *last < kAnswerHolds) return hosts_[origin].answered_another;
    }
  }
  if (url.empty()) return false;
  const bool serves = serves_now(url, origin, stop);
  const std::lock_guard lock(mutex_);
  hosts_[origin].asked_by_another = Clock::now();
  hosts_[origin].answered_another = serves;
  return serves;
}

bool HttpClient::serves_now(const std::string& url, const std::string& origin, const core::StopFlag& stop) {
  struct Enough {};
  Sink sink;
  sink.is_question = true;
  sink.prepare = [](Hop& hop, bool) {  // no HEAD: an address may be signed for GET alone
    hop.header_lines.emplace_back("Range: bytes=0-0");
    hop.on_begin = [](const ResponseHeaders&, Body) { throw Enough{}; };
  };
  Fetch fetch(*this, url, sink, stop);
  try {
    const HopResult result = fetch.follow();
    return fetch.was_passed_on_by(origin) ||
           (fetch.was_answered_by(origin) && result.headers.status != 0 && !result.is_no_service());
  } catch (
      const core::UserError&) {  // where it redirects to is refused: that settles nothing for another file
    return false;
  }
}

std::optional<Fetched> HttpClient::fetch(const FileRequest& request, PartialFile& partial,
                                         const core::StopFlag& stop) {
  std::int64_t announced = request.expected_bytes;
  Sink sink;
  sink.may_be_set_aside = true;
  sink.when_refused = request.when_refused;
  sink.bytes = [&] { return partial.bytes(); };
  sink.restart = [&] { partial.forget_version(); };
  sink.is_whole = [&] { return announced >= 0 && static_cast<std::int64_t>(partial.bytes()) == announced; };
  sink.prepare = [&](Hop& hop, bool whole) {
    partial.take_back();
    hop.asked.expected_bytes = request.expected_bytes;
    const FileVersion version = partial.version();
    announced = request.expected_bytes >= 0 ? request.expected_bytes : version.total;
    if (!whole && !version.validator().empty()) {
      hop.asked.offset = partial.bytes();
      hop.asked.version = version;
      hop.header_lines.push_back(fmt::format("Range: bytes={}-", hop.asked.offset));
      hop.header_lines.push_back("If-Range: " + version.validator());
    }
    hop.on_begin = [&](const ResponseHeaders& headers, Body body) {
      if (body == Body::from_start) announced = request.expected_bytes;  // not what another version had
      if (headers.total_bytes() >= 0) announced = headers.total_bytes();
      if (body == Body::from_start) partial.begin(headers.version(), announced);
    };
    hop.on_bytes = [&](std::span<const std::byte> bytes) {
      partial.append(bytes);
      request.on_bytes(static_cast<double>(bytes.size()));
    };
  };
  sink.lack = [&] {
    const auto here = static_cast<std::int64_t>(partial.bytes());
    return announced < 0 || here == announced
               ? std::string()
               : fmt::format("{} bytes arrived, {} were announced", here, announced);
  };
  const std::optional<HopResult> result = Fetch(*this, request.url, sink, stop).run();
  if (!result) return std::nullopt;
  return Fetched{result->headers.linked_sha256};
}

std::optional<TextAnswer> HttpClient::text(const std::string& url, const core::StopFlag& stop) {
  TextAnswer answer;
  Sink sink;
  sink.prepare = [&](Hop& hop, bool) {
    hop.asked.max_bytes = limits::kListingBytes;
    hop.on_begin = [&](const ResponseHeaders&, Body) { answer.text.clear(); };
    hop.on_bytes = [&](std::span<const std::byte> bytes) {
      answer.text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
  };
  const std::optional<HopResult> result = Fetch(*this, url, sink, stop).run();
  if (!result) return std::nullopt;
  answer.next_page = result->headers.next_page;
  return answer;
}

std::int64_t HttpClient::size(const std::string& url, const core::StopFlag& stop) {
  Sink sink;
  sink.prepare = [](Hop& hop, bool) { hop.head_only = true; };
  const HopResult result = Fetch(*this, url, sink, stop).follow();
  if (result.headers.status == 0 && !stop.requested())
    core::user_error("{}: does not answer: {}", shown(url), result.error);
  return result.headers.status == 200 ? result.headers.total_bytes() : -1;
}

double HttpClient::speed(const std::string& url, std::uint64_t bytes, double seconds,
                         const core::StopFlag& stop) {
  struct Enough {};
  std::uint64_t arrived = 0;
  std::optional<Clock::time_point> began;
  double elapsed_s = 0;
  Sink sink;
  sink.prepare = [&](Hop& hop, bool) {
    hop.on_begin = [&](const ResponseHeaders&, Body) { began = Clock::now(); };
    hop.on_bytes = [&](std::span<const std::byte> piece) {
      arrived += piece.size();
      elapsed_s = std::chrono::duration<double>(Clock::now() - *began).count();
      if (arrived >= bytes || elapsed_s > seconds) throw Enough{};
    };
  };
  const HopResult result = Fetch(*this, url, sink, stop).follow();
  if (const long status = result.headers.status; status / 100 != 2 && !stop.requested()) {
    const std::string why =
        status == 0 ? "does not answer: " + result.error : fmt::format("the server answered {}", status);
    core::user_error("{}: {}", shown(url), why);
  }
  return elapsed_s > 0 ? static_cast<double>(arrived) / elapsed_s : 0;
}

}  // namespace microdit::ingest
