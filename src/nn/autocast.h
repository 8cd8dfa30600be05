// bf16 compute for a scope.
#pragma once

#include <ATen/autocast_mode.h>
#include <c10/core/Device.h>

namespace microdit::nn {

/// While it lives and `on`: the ops that gain from it compute in bf16 on `device` (torch's autocast;
/// parameters stay fp32, and are cast once while the outermost lives: no update of them within it).
class Autocast {
 public:
  Autocast(bool on, c10::Device device)
      : type_(device.type()), before_(at::autocast::is_autocast_enabled(type_)) {
    if (on) at::autocast::set_autocast_dtype(type_, at::kBFloat16);
    at::autocast::set_autocast_enabled(type_, on);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;
  ~Autocast() {
    if (!before_) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type_, before_);
  }

 private:
  c10::DeviceType type_;
  bool before_;
};

}  // namespace microdit::nn
