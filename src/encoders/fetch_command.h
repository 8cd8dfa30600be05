// Who misses weights is told the command that fetches them.
#pragma once

#include <filesystem>
#include <string>

namespace microdit::encoders {

/// The file of configs/weights that fills data_root()/weights/NAME, which `place` is or lies in: its `name` is NAME. Empty where
/// there is none.
std::filesystem::path weights_entry(const std::filesystem::path& place);
/// The end of a message: "; to fetch it: COMMAND", a shell line with the download beside this program; or "".
std::string how_to_fetch(const std::filesystem::path& place);

}  // namespace microdit::encoders
