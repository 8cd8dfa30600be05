// Web addresses in captions.
#include <algorithm>

#include "text/caption_rules.h"
#include "text/character_classes.h"
#include "text/rewrite.h"

namespace microdit::text {
namespace {

constexpr std::size_t kNone = std::string_view::npos;
constexpr std::string_view kDomains[] = {"com", "co", "ru", "net", "org", "edu", "gov", "it"};

char byte_at(std::string_view text, std::size_t at) {
  return at < text.size() ? text[at] : '\0';
}
bool is_alnum(char c) {
  return ascii::is(static_cast<unsigned char>(c), ascii::kLetter | ascii::kDigit);
}
/// [a-zA-Z0-9.\-]
bool is_host(char c) {
  return is_alnum(c) || c == '.' || c == '-';
}

/// [\w/-]*\b\/?(?!@) from `at` on: its end, or kNone.
std::size_t end_of_path(std::string_view text, std::size_t at) {
  std::size_t end = at;
  for (;;) {
    const char c = byte_at(text, end);
    const std::size_t bytes = end < text.size() && (c == '/' || c == '-') ? 1 : length_at<is_word>(text, end);
    if (bytes == 0) break;
    end += bytes;
  }
  for (;; end -= code_point_before(text, end).bytes) {
    if (is_boundary(text, end)) {
      if (byte_at(text, end) == '/' && byte_at(text, end + 1) != '@') return end + 1;
      if (byte_at(text, end) != '@') return end;
    }
    if (end == at) return kNone;
  }
}

/// (?:com|...)[\w/-]*\b\/?(?!@) behind a dot: its end, or kNone.
std::size_t end_of_domain(std::string_view text, std::size_t at) {
  for (const std::string_view domain : kDomains) {
    if (text.substr(at, domain.size()) != domain) continue;
    const std::size_t end = end_of_path(text, at + domain.size());
    if (end != kNone) return end;
  }
  return kNone;
}

/// The last dot of a run of host characters that an address can be read from, and where that ends. It does not depend on
/// where in the run the address begins.
struct Host {
  std::size_t run_end = 0, dot = 0, end = kNone;
};
Host find_host(std::string_view text, std::size_t at) {
  Host host;
  host.run_end = at;
  while (host.run_end < text.size() && is_host(text[host.run_end])) ++host.run_end;
  for (host.dot = host.run_end; host.dot > at + 1;) {
    if (text[--host.dot] != '.') continue;
    host.end = end_of_domain(text, host.dot + 1);
    if (host.end != kNone) break;
  }
  return host;
}

/// SCHEME:(?:\/{1,3}|[a-zA-Z0-9%]) at `at`: its end, or kNone.
std::size_t end_of_scheme(std::string_view text, std::size_t at, std::string_view scheme, bool optional_s) {
  if (text.substr(at, scheme.size()) != scheme) return kNone;
  at += scheme.size();
  if (optional_s && byte_at(text, at) == 's') ++at;
  if (byte_at(text, at++) != ':') return kNone;
  std::size_t end = at;
  while (end < at + 3 && byte_at(text, end) == '/') ++end;
  if (end > at) return end;
  return is_alnum(byte_at(text, at)) || byte_at(text, at) == '%' ? at + 1 : kNone;
}

void delete_addresses(std::string& caption, std::string_view scheme, bool optional_s) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  Host host;
  for (std::size_t at = 0; at < text.size();) {
    if (!is_host(text[at])) {
      ++at;
      continue;
    }
    if (at >= host.run_end) host = find_host(text, at);
    std::size_t end = kNone;
    if ((host.end != kNone || text[at] == scheme[0]) && is_boundary(text, at)) {
      end = end_of_scheme(text, at, scheme, optional_s);
      if (end == kNone && host.end != kNone && at < host.dot) end = host.end;
    }
    if (end == kNone) {
      ++at;
      continue;
    }
    rewrite.replace(at, end, "");
    at = end;
    if (at > host.dot) host.end = kNone;  // later dots of this run were tried
  }
}

}  // namespace

void delete_urls(std::string& text) {
  delete_addresses(text, "http", true);
}
void delete_www_urls(std::string& text) {
  delete_addresses(text, "www", false);
}

}  // namespace microdit::text
