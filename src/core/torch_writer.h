// Writing what torch.load(FILE, weights_only=True) reads as a plain dict of tensors.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/safetensors.h"

namespace microdit::core {

/// The zip format of torch.save (version 3; ZIP64 where sizes need it; protocol 2), written aside and renamed, with one tensor in
/// memory at a time: `read` gives each in turn. `aliases` are further names of tensors (shared weights; their value is a
/// name in `tensors`): they share its storage. Offsets in `tensors` are ignored. SystemError when writing fails.
void write_torch_file(const std::filesystem::path& path, const std::map<std::string, TensorInfo>& tensors,
                      const TensorSource& read, const std::map<std::string, std::string>& aliases = {});

}  // namespace microdit::core
