// Addresses as text and as numbers: what of them may be shown, compared, reached.
#pragma once

#include <sys/socket.h>

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace microdit::ingest {

/// The address for messages and records: without user name, query and fragment, which may carry secrets.
std::string shown(std::string_view url);

/// "scheme://host:port" in lower case, without a user name; the default port is left out.
std::string origin_of(std::string_view url);
/// The host alone, in lower case, an IPv6 one without its brackets.
std::string host_name_of(std::string_view url);

/// "http://USER:WORD@host": of such an address readers differ in what its host is.
bool has_user_name(std::string_view url);

/// As libcurl wants it: spaces, quotes and other bytes that no address may hold become %XX, what is escaped stays.
/// UserError (naming `origin`) on control characters.
std::string escaped_url(std::string_view url, std::string_view origin);
/// A path of a hub repository or the like as part of an address: every byte but letters, digits and "-._~/" escaped.
std::string escaped_path(std::string_view path);
/// The path of a file:// address, %XX decoded. UserError when it decodes to a zero byte.
std::filesystem::path path_of_file_url(std::string_view url);

/// Whatever is no public unicast address: loopback, private, link-local, shared, reserved, multicast, and the
/// IPv6 forms that wrap an IPv4 address or reach one through a gateway.
bool is_private_address(const sockaddr* address);
/// The same of a host that is written as a number, or is called localhost; false for any other name.
bool is_private_literal(std::string_view host);
/// localhost or a number of the loopback net: a token may go there without https.
bool is_loopback_literal(std::string_view host);

/// Which hosts may be private: those an entry allows by name, and its own where it is written as a number.
class PrivateHosts {
 public:
  PrivateHosts(const std::vector<std::string>& allowed, std::string_view own_url);
  bool allow(std::string_view host) const { return hosts_.contains(std::string(host)); }

 private:
  std::set<std::string> hosts_;
};

/// The proxy that http_proxy, https_proxy, all_proxy and no_proxy name for this address; "" for none, and for loopback numbers.
std::string proxy_of(std::string_view url);
/// Its host, for messages: what surrounds it may be secret.
std::string shown_proxy(const std::string& proxy);
/// Certificates of the authorities that are trusted instead of the system's, as CURL_CA_BUNDLE or SSL_CERT_FILE name them; "" for none.
std::string certificate_file();

}  // namespace microdit::ingest
