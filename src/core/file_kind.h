// Private to core: what a file or a folder is that was given as weights and is none.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace microdit::core::detail {

constexpr std::size_t kKindBytes = 512;  ///< of a file's beginning tell its kind

/// What a file is that begins so and is no safetensors file, and what to do; "" when its beginning says nothing.
std::string foreign_format(std::string_view begin);

/// What a folder is, and what of it to name instead.
std::string folder_kind(const std::filesystem::path& folder);

}  // namespace microdit::core::detail
