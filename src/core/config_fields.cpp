// The visitor's door: everything goes to the state.
#include "core/config_state.h"

namespace microdit::core {

void Fields::visit(std::string_view key, Value value, const FieldRule& rule) {
  state_->visit(key, value, rule);
}
void Fields::error(std::string_view key, std::string_view message) {
  state_->error(key, message);
}
bool Fields::given(std::string_view key) const {
  return state_->given(key);
}
bool Fields::reading() const {
  return state_->reading();
}
bool Fields::begin_section(std::string_view key, const FieldRule& rule) {
  return state_->begin_section(key, rule);
}
void Fields::end_section() {
  state_->end_section();
}
std::int64_t Fields::begin_list(std::string_view key, std::int64_t current_size) {
  return state_->begin_list(key, current_size);
}
void Fields::begin_item(std::size_t index) {
  state_->begin_item(index);
}
void Fields::end_list() {
  state_->end_list();
}

}  // namespace microdit::core
