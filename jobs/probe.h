// probe: one building block on given tensors, so that anyone can compare it with another implementation (design section 7).
#pragma once

#include <filesystem>

#include "job.h"

namespace microdit::jobs {

int probe_forward(Job& job);
int probe_loss(Job& job);
int probe_sample(Job& job);
int probe_gaussian(Job& job);
int probe_tokenize(Job& job);
int probe_encode_text(Job& job);
int probe_clean_captions(Job& job);
int probe_encode(Job& job);
int probe_decode(Job& job);
int probe_resize(Job& job);

/// The value of --NAME; UserError when it was not given.
std::filesystem::path needed_path(const Job& job, const std::string& name);

/// A config from key=value words alone (for commands without --config).
template <class Config>
Config load_words(const Job& job) {
  return core::load<Config>(core::ConfigTree::of_overrides(job.line.overrides));
}

}  // namespace microdit::jobs
