// Private to core: a pickle as a graph of values. Nothing is looked up, called or built: a name is a name, and a call is a
// value that says what would have been called with what. Opcodes: CPython's Lib/pickletools.py, protocols 1 to 5 (and 0 where
// it shares them).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace microdit::core::detail {

enum class PickleKind : std::uint8_t {
  none,
  boolean,
  integer,
  big_integer,
  real,
  text,
  bytes,
  global,
  tuple,
  list,
  dict,
  set,
  call,
  persistent
};

using PickleId = std::uint32_t;
constexpr PickleId kNoValue = 0xffffffff;

struct PickleValue {
  PickleKind kind = PickleKind::none;
  PickleId callable = kNoValue;  ///< call: what is called; global: its module, where `text` does not say it
  PickleId args = kNoValue;      ///< call: a tuple; persistent: its identity; global: its name, as above
  PickleId state = kNoValue;     ///< call: what BUILD gave it
  std::int64_t integer = 0;      ///< integer, boolean
  std::string_view text;         ///< text and bytes; global "module\nname"; big_integer: its opcode's bytes
  std::vector<PickleId>
      items;  ///< of a container (dict: key, value, ...); call: what was appended or set afterwards
};

struct Pickle {
  std::deque<PickleValue> values;
  PickleId root = kNoValue;
  std::size_t bytes = 0;  ///< that it took

  const PickleValue& operator[](PickleId id) const { return values[id]; }
  /// "module name" of a global; "" of anything else.
  std::string global_name(PickleId id) const;
};

/// The bytes end before the pickle does.
class PickleCut : public UserError {
  using UserError::UserError;
};

/// The pickle that `bytes` begin with; its texts point into them. UserError (what, at which byte) when it is malformed or
/// beyond TorchLimits. Time and memory are linear in its length.
Pickle read_pickle(std::string_view bytes);

}  // namespace microdit::core::detail
