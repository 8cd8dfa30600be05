// A record's .json.
#pragma once

#include <optional>
#include <string>

#include "core/json.h"
#include "ingest/records.h"
#include "tables/value.h"

namespace microdit::ingest {

/// The sidecar .json, parsed at most once.
class Sidecar {
 public:
  explicit Sidecar(const RawRecord& raw) : raw_(raw) {}
  /// The string under `key`, or nothing and then why(): damaged.json, unsupported.sidecar_size, or "" when it is absent.
  std::optional<std::string> string(const std::string& key);
  /// The string or the number under `key`; nothing as above.
  tables::Value value(const std::string& key);
  const std::string& why() const { return why_; }

 private:
  const core::Json* find(const std::string& key);
  void parse();
  const RawRecord& raw_;
  bool tried_ = false;
  core::Json parsed_;
  std::string why_;
};

}  // namespace microdit::ingest
