// One hash over all, two lines looked at.
#include "store/manifest_head.h"

#include <span>
#include <string_view>

#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"

namespace microdit::store {

ManifestHead read_manifest_head(const std::string& text, const std::string& origin) {
  const auto broken = [&](std::string_view what) {
    core::user_error("{}: {}; remove it and run the stage that makes it again", origin, what);
  };
  const std::size_t end = text.size() < 2 ? std::string::npos : text.rfind('\n', text.size() - 2);
  if (end == std::string::npos || text.back() != '\n') broken("cut off");
  ManifestHead head;
  const std::string_view body = std::string_view(text).substr(0, end + 1);
  head.sha256 = core::sha256(std::as_bytes(std::span(body)));
  if (text.substr(end + 1) != core::Json{{"sha256", head.sha256}}.dump() + "\n")
    broken("does not match its own checksum");
  const core::Json first = core::parse_json(body.substr(0, body.find('\n')), origin + ", line 1");
  if (!first.is_object() || !first.contains("facts") || !first["facts"].is_object())
    broken("facts are missing");
  head.facts = first["facts"].dump();
  if (first.contains("generation") && first["generation"].is_number_integer())
    head.generation = first["generation"].get<std::int64_t>();
  return head;
}

}  // namespace microdit::store
