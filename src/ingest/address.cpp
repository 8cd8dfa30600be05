// Addresses: parts, escapes, private nets, proxies.
#include "ingest/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>

#include "core/environment.h"
#include "core/error.h"
#include "ingest/limits.h"

namespace microdit::ingest {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

struct Parts {
  std::string_view scheme, authority, path;  ///< authority without a user name
  bool has_user = false;
};

/// As libcurl parts them: an authority ends at '/', '?' or '#', and its host begins behind the last '@'.
Parts parts_of(std::string_view url) {
  Parts parts;
  const std::size_t colon = url.find("://");
  if (colon == std::string_view::npos) return {{}, {}, url};
  parts.scheme = url.substr(0, colon);
  const std::string_view rest = url.substr(colon + 3);
  const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  parts.authority = rest.substr(0, end);
  parts.path = rest.substr(end);
  const std::size_t at = parts.authority.rfind('@');
  parts.has_user = at != std::string_view::npos;
  if (parts.has_user) parts.authority.remove_prefix(at + 1);
  return parts;
}

/// Small letters; a name's final dot ("as it stands, in no domain of mine") names the same host.
std::string plain_authority(std::string_view authority) {
  std::string out = lower(authority);
  const std::size_t end = out.starts_with('[') ? 0 : std::min(out.find(':'), out.size());
  if (end > 1 && out[end - 1] == '.') out.erase(end - 1, 1);
  return out;
}

std::string hex_escape(unsigned char byte) {
  return fmt::format("%{:02X}", byte);
}

bool is_private_v4(std::uint32_t ip) {  // host byte order
  const auto in = [&](std::uint32_t net, int bits) { return (ip >> (32 - bits)) == (net >> (32 - bits)); };
  return in(0x00000000, 8) || in(0x0a000000, 8) || in(0x64400000, 10) || in(0x7f000000, 8) ||
         in(0xa9fe0000, 16) || in(0xac100000, 12) || in(0xc0000000, 24) || in(0xc0a80000, 16) ||
         in(0xc6120000, 15) || in(0xe0000000, 3);
}

std::uint32_t v4_at(const std::uint8_t* b) {
  return static_cast<std::uint32_t>(b[0]) << 24 | static_cast<std::uint32_t>(b[1]) << 16 |
         static_cast<std::uint32_t>(b[2]) << 8 | b[3];
}

bool is_private_v6(const in6_addr& address) {
  const std::uint8_t* b = address.s6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&address) || IN6_IS_ADDR_V4COMPAT(&address)) return is_private_v4(v4_at(b + 12));
  const bool translated = b[0] == 0x00 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b;  // 64:ff9b::/96, /48
  const bool six_to_four = b[0] == 0x20 && b[1] == 0x02;                                 // 2002::/16
  const bool teredo = b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0;            // 2001::/32
  return translated || six_to_four || teredo || IN6_IS_ADDR_LOOPBACK(&address) ||
         IN6_IS_ADDR_UNSPECIFIED(&address) || IN6_IS_ADDR_LINKLOCAL(&address) ||
         IN6_IS_ADDR_SITELOCAL(&address) || IN6_IS_ADDR_MULTICAST(&address) || (b[0] & 0xfe) == 0xfc;
}

bool is_v4(std::string_view host, in_addr& address) {
  return ::inet_pton(AF_INET, std::string(host).c_str(), &address) == 1;
}
bool is_v6(std::string_view host, in6_addr& address) {
  return ::inet_pton(AF_INET6, std::string(host.substr(0, host.find('%'))).c_str(), &address) == 1;
}

}  // namespace

std::string shown(std::string_view url) {
  const Parts parts = parts_of(url);
  const std::string_view path = parts.path.substr(0, parts.path.find_first_of("?#"));
  if (parts.scheme.empty()) return std::string(path);
  return fmt::format("{}://{}{}", parts.scheme, parts.authority, path);
}

std::string origin_of(std::string_view url) {
  const Parts parts = parts_of(url);
  const std::string scheme = lower(parts.scheme);
  std::string authority = plain_authority(parts.authority);
  if (scheme == "http" && authority.ends_with(":80")) authority.resize(authority.size() - 3);
  if (scheme == "https" && authority.ends_with(":443")) authority.resize(authority.size() - 4);
  return scheme + "://" + authority;
}

std::string host_name_of(std::string_view url) {
  const std::string authority = plain_authority(parts_of(url).authority);
  if (authority.starts_with('[')) return authority.substr(1, authority.find(']') - 1);
  return authority.substr(0, authority.find(':'));
}

bool has_user_name(std::string_view url) {
  return parts_of(url).has_user;
}

std::string escaped_url(std::string_view url, std::string_view origin) {
  std::string out;
  for (const char c : url) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      core::user_error("{}: {}: holds a control character (byte {})", origin, escaped_path(shown(url)), byte);
    }
    const bool must = byte == ' ' || byte >= 0x80 || std::strchr("\"<>\\^`{|}", c) != nullptr;
    out += must ? hex_escape(byte) : std::string(1, c);
  }
  if (out.size() > limits::kAddressBytes)
    core::user_error("{}: {:.200}...: longer than {} bytes", origin, shown(out), limits::kAddressBytes);
  if (host_name_of(out).size() > limits::kHostBytes)
    core::user_error("{}: {:.200}...: a host's name has at most {} bytes", origin, shown(out),
                     limits::kHostBytes);
  return out;
}

std::string escaped_path(std::string_view path) {
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (std::isalnum(byte) && byte < 0x80) || std::strchr("-._~/", c) != nullptr;
    out += plain && c != '\0' ? std::string(1, c) : hex_escape(byte);
  }
  return out;
}

std::filesystem::path path_of_file_url(std::string_view url) {
  const std::string_view text = url.substr(std::string_view("file://").size());
  std::string path;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() &&
                        std::isxdigit(static_cast<unsigned char>(text[i + 1])) &&
                        std::isxdigit(static_cast<unsigned char>(text[i + 2]));
    if (!escape) {
      path += text[i];
      continue;
    }
    path += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
    i += 2;
  }
  if (path.find('\0') != std::string::npos) core::user_error("{}: holds a zero byte (%00)", url);
  return path;
}

bool is_private_address(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    return is_private_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address->sa_family != AF_INET6) return true;  // a local socket
  sockaddr_in6 v6{};
  std::memcpy(&v6, address, sizeof v6);
  return is_private_v6(v6.sin6_addr);
}

bool is_private_literal(std::string_view host) {
  in_addr v4{};
  in6_addr v6{};
  if (is_v4(host, v4)) return is_private_v4(ntohl(v4.s_addr));
  if (is_v6(host, v6)) return is_private_v6(v6);
  return host == "localhost" || host.ends_with(".localhost");
}

bool is_loopback_literal(std::string_view host) {
  in_addr v4{};
  in6_addr v6{};
  if (is_v4(host, v4)) return (ntohl(v4.s_addr) >> 24) == 127;
  if (is_v6(host, v6)) return IN6_IS_ADDR_LOOPBACK(&v6);
  return host == "localhost";
}

PrivateHosts::PrivateHosts(const std::vector<std::string>& allowed, std::string_view own_url) {
  for (const std::string& host : allowed) hosts_.insert(lower(host));
  const std::string own = host_name_of(own_url);
  if (is_private_literal(own)) hosts_.insert(own);
}

std::string shown_proxy(const std::string& proxy) {
  return host_name_of(proxy.find("://") == std::string::npos ? "http://" + proxy : proxy);
}

std::string certificate_file() {
  return core::variable("CURL_CA_BUNDLE", core::variable("SSL_CERT_FILE"));
}

std::string proxy_of(std::string_view url) {
  const auto either = [](const char* small, const char* large) {
    return core::variable(small, core::variable(large));
  };
  const bool secure = lower(parts_of(url).scheme) == "https";
  // HTTP_PROXY in capitals is no proxy: a web server sets it from a client's header.
  std::string proxy = secure ? either("https_proxy", "HTTPS_PROXY") : core::variable("http_proxy");
  if (proxy.empty()) proxy = either("all_proxy", "ALL_PROXY");
  if (proxy.empty()) return "";
  const std::string host = host_name_of(url);
  if (is_loopback_literal(host)) return "";  // another machine's loopback is not what is meant
  std::string_view exceptions_left;
  const std::string exceptions = lower(either("no_proxy", "NO_PROXY"));
  exceptions_left = exceptions;
  while (!exceptions_left.empty()) {
    const std::size_t comma = std::min(exceptions_left.find_first_of(", "), exceptions_left.size());
    std::string_view name = exceptions_left.substr(0, comma);
    exceptions_left.remove_prefix(std::min(comma + 1, exceptions_left.size()));
    if (name == "*") return "";
    if (name.starts_with('.')) name.remove_prefix(1);
    if (name.empty() || !host.ends_with(name)) continue;
    if (host.size() == name.size() || host[host.size() - name.size() - 1] == '.') return "";
  }
  return proxy;
}

}  // namespace microdit::ingest
