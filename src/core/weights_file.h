// The one door for files of weights: safetensors or PyTorch's .pt, .bin, .ckpt, told apart by their content. Nothing of a
// PyTorch file is executed: its pickle is read as a description (core/pickle.h).
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "core/input_file.h"
#include "core/safetensors.h"

namespace microdit::core {

namespace detail {
enum class TorchContainer;
}

/// The CRC-32 that a file holds of the bytes from some offset on.
struct RecordChecksum {
  std::uint64_t bytes = 0;
  std::uint32_t crc = 0;
};

/// Tensors by name, read on demand; also as row-major, packed bytes where the file holds a view (transposed, expanded).
class WeightsFile {
 public:
  /// UserError (file, what it is, what to do) when it is missing, damaged or no file of weights. Names in a PyTorch file are
  /// the path to a tensor: "state.model.dit.pos_embed".
  explicit WeightsFile(const std::filesystem::path& path);

  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  /// Of `tensors`: names that stand for the very same elements as another (shared weights), and that other's name. In
  /// safetensors they are the metadata that safetensors.torch.save_model leaves.
  const std::map<std::string, std::string>& aliases() const { return aliases_; }
  /// Tensors that cannot be read (sparse, of a foreign element type, inside an object), not in `tensors`, and why.
  const std::map<std::string, std::string>& unreadable() const { return unreadable_; }
  /// UserError when the file has no readable tensor `name`; says why it is unreadable where it is.
  const TensorInfo& info(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return file_.path(); }

  /// Copies the whole tensor into `out` (exactly info.bytes long). UserError when there is no `name`, or a checksum that
  /// the file holds is wrong.
  void read(const std::string& name, std::span<std::byte> out) const;
  /// Copies bytes [begin, begin + out.size()) of the tensor's packed data.
  void read_range(const std::string& name, std::uint64_t begin, std::span<std::byte> out) const;

 private:
  void open_safetensors();
  void open_torch(detail::TorchContainer container);

  InputFile file_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::vector<std::int64_t>> strides_;  ///< of those that are not packed in the file
  std::map<std::uint64_t, RecordChecksum> checksums_;         ///< by offset
  std::map<std::string, std::string> aliases_, unreadable_, metadata_;
};

}  // namespace microdit::core
