// A network of one's own: its name, its keys and how it is made (docs/extending.md).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"

namespace microdit::models {

class Denoiser;
struct DenoiserConfig;

/// The keys of a kind below `model:`, their values, and the network that they describe.
class KindKeys {
 public:
  virtual ~KindKeys() = default;
  /// Names other than `kind`, `input_size`, `in_channels` and those of Takes.
  virtual void fields(core::Fields& f) = 0;
  /// On the CPU in fp32, parameters left as memory is, buffers filled. `common` holds what comes from the data: input_size,
  /// in_channels, caption_channels, num_classes. UserError for sizes that do not go together.
  virtual std::shared_ptr<Denoiser> make(const DenoiserConfig& common) const = 0;
};

/// What a network is conditioned on. Each brings its keys.
struct Takes {
  bool text = false;       ///< rows of text: caption_channels
  bool text_mask = false;  ///< which of them are tokens, where the user says `text_mask: true`
  bool classes = false;    ///< num_classes (0 = none after all), learned_null
};

struct DenoiserKind {
  std::string name;  ///< what stands behind `kind:`
  Takes takes;
  std::function<std::shared_ptr<KindKeys>()> keys;  ///< at their defaults
};

/// The kinds beside ours. A hook that is filled when a program is linked: a library's object of its own says "none", and what
/// microdit_programs() (cmake/microdit_programs.cmake) generates says it before that one is looked at.
std::vector<DenoiserKind> more_denoisers();

/// Ours first.
std::vector<std::string> kind_names();
/// Of more_denoisers(); null where `name` is none of them.
const DenoiserKind* more_kind(std::string_view name);
/// What is wrong with names beside ours: a name that is taken, twice there, or none. "" where nothing is.
std::string kinds_fault(const std::vector<DenoiserKind>& kinds);

}  // namespace microdit::models
