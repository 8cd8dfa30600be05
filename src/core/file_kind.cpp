// Kinds of files by their first bytes, kinds of folders by what lies in them.
#include "core/file_kind.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/torch_file.h"

namespace microdit::core::detail {

std::string foreign_format(std::string_view begin) {
  const auto is = [&](std::string_view mark) { return begin.starts_with(mark); };
  if (is("version https://git-lfs"))
    return "it is a Git LFS pointer, not the weights: run `git lfs pull` in the folder it was cloned to, or "
           "download the file itself";
  if (torch_container(begin) != TorchContainer::none)
    return "it is a PyTorch file (.pt, .bin, .ckpt), not safetensors: `convert --input FILE --output "
           "NEW.safetensors` makes one of it";
  const std::size_t text = std::min(begin.find_first_not_of(" \t\r\n"), begin.size());
  for (const std::string_view mark : {"<!DOCTYPE", "<!doctype", "<html", "<HTML", "<?xml"})
    if (begin.substr(text).starts_with(mark))
      return "it is a web page, not the weights: a download went wrong; download it again, signed in if the "
             "site asks";
  if (is("GGUF")) return "it is a GGUF file: take the model's safetensors file";
  if (is("\x89HDF")) return "it is an HDF5 file: take the model's safetensors file";
  if (is("\x93NUMPY")) return "it is a NumPy array: take the model's safetensors file";
  if (is("\x1f\x8b")) return "it is compressed by gzip: unpack it first";
  if (is("ustar") || (begin.size() > 262 && begin.substr(257, 5) == "ustar"))
    return "it is a tar archive: unpack it first";
  if (is("{")) return "it is a JSON text, not the weights: of a sharded model name the folder, not its index";
  return "";
}

std::string folder_kind(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::vector<std::string> parts, files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string(), kind = entry.path().extension().string();
    if (entry.is_directory(none) && fs::exists(entry.path() / "config.json", none)) parts.push_back(name);
    if (kind == ".safetensors" || kind == ".pt" || kind == ".bin" || kind == ".ckpt" || kind == ".pth")
      files.push_back(name);
  }
  std::sort(parts.begin(), parts.end());
  std::sort(files.begin(), files.end());
  constexpr std::size_t kShown = 8;
  parts.resize(std::min(parts.size(), kShown));
  files.resize(std::min(files.size(), kShown));
  if (fs::exists(folder / "model_index.json", none))
    return fmt::format(
        "it is the folder of a diffusers pipeline: name the weights file of one of its parts ({})",
        fmt::join(parts, ", "));
  if (!files.empty()) return fmt::format("it is a folder; name a file of it ({})", fmt::join(files, ", "));
  return "it is a folder, not a file of weights";
}

}  // namespace microdit::core::detail
