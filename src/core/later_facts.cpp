// Only the names below may be absent on one side; all else that is, differs.
#include "core/later_facts.h"

#include <array>

namespace microdit::core {

void forget_unshared(Json& a, Json& b) {
  static constexpr std::array kLater = {"network", "tokenizer_sha256", "precision"};
  if (!a.is_object() || !b.is_object()) return;
  for (const char* key : kLater)
    if (a.contains(key) != b.contains(key)) {
      a.erase(key);
      b.erase(key);
    }
  for (auto& [key, value] : a.items())
    if (const auto other = b.find(key); other != b.end()) forget_unshared(value, *other);
}

}  // namespace microdit::core
