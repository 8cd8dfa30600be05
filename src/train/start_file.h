// Which file of weights `init.from` names.
#pragma once

#include <filesystem>
#include <string>

namespace microdit::train {

/// `from` itself where it is a file (its content tells the format: core/weights_file.h); of a folder that diffusers wrote its network's
/// file, of a pipeline that of its `unet` or `transformer`. Empty: a run, a checkpoint, or nothing. UserError: such a folder whose weights
/// lie in several files.
std::filesystem::path start_file(const std::string& from);

}  // namespace microdit::train
