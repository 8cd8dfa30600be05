// Private to core: what a Fields visit does with each field; one subclass reads, one prints, one explains.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/config.h"

namespace microdit::core {

struct Fields::State {
  using Value = Fields::Value;

  virtual ~State() = default;
  virtual void visit(std::string_view key, Value value, const FieldRule& rule) = 0;
  virtual bool begin_section(std::string_view key, const FieldRule& rule) = 0;
  virtual void end_section() = 0;
  virtual std::int64_t begin_list(std::string_view key, std::int64_t current_size) = 0;
  virtual void begin_item(std::size_t index) = 0;
  virtual void end_list() = 0;
  virtual void error(std::string_view /*key*/, std::string_view /*message*/) {}
  virtual bool given(std::string_view /*key*/) const { return false; }
  virtual bool reading() const { return false; }
};

}  // namespace microdit::core
