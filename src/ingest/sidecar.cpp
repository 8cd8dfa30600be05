// Damage is a reason, not an error: another member of the record may do.
#include "ingest/sidecar.h"

#include <string_view>

#include "core/error.h"
#include "ingest/limits.h"

namespace microdit::ingest {

const core::Json* Sidecar::find(const std::string& key) {
  parse();
  if (!parsed_.is_object()) return nullptr;
  const auto found = parsed_.find(key);
  return found == parsed_.end() ? nullptr : &*found;
}

std::optional<std::string> Sidecar::string(const std::string& key) {
  const core::Json* found = find(key);
  return found && found->is_string() ? std::optional(found->get<std::string>()) : std::nullopt;
}

tables::Value Sidecar::value(const std::string& key) {
  const core::Json* found = find(key);
  if (!found) return {};
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_integer() && !found->is_number_unsigned()) return found->get<std::int64_t>();
  if (found->is_number()) return found->get<double>();
  return {};
}

void Sidecar::parse() {
  const auto member = raw_.members.find("json");
  if (tried_ || member == raw_.members.end()) return;
  tried_ = true;
  const std::vector<std::byte>& bytes = member->second.bytes;
  if (bytes.size() > limits::kSidecarBytes) {
    why_ = "unsupported.sidecar_size";
    return;
  }
  try {
    parsed_ = core::parse_foreign_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                                       raw_.key + ".json");
  } catch (const core::UserError&) {
    why_ = "damaged.json";
  }
}

}  // namespace microdit::ingest
