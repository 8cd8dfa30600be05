// The safetensors file format, read strictly and written atomically. No torch: tensors are bytes with a dtype
// and a shape. Format: github.com/huggingface/safetensors; checks and their order follow its reference
// reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/input_file.h"

namespace microdit::core {

/// A tensor in memory, row-major and packed; it does not own its bytes.
struct TensorView {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

struct TensorInfo {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;  ///< in the file
  std::uint64_t bytes = 0;
};

/// A checked header over an open file; tensors are read on demand with pread.
class SafetensorsFile {
 public:
  /// UserError (file, what is wrong) when the file is missing or breaks the format.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return file_.path(); }
  /// Copies the whole tensor into `out` (exactly info.bytes long). UserError when `name` is not in the file.
  void read(const std::string& name, std::span<std::byte> out) const;
  /// Copies bytes [begin, begin + out.size()) of the tensor's data.
  void read_range(const std::string& name, std::uint64_t begin, std::span<std::byte> out) const;

 private:
  InputFile file_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// The bytes before the data section, and the order in which `tensors` must follow it (indices).
struct SafetensorsLayout {
  std::string header;
  std::vector<std::size_t> order;
};
SafetensorsLayout safetensors_layout(std::span<const TensorView> tensors,
                                     const std::map<std::string, std::string>& metadata = {});

/// Writes aside, syncs, renames. Names must be unique.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// Fills the bytes of the tensor of a name.
using TensorSource = std::function<void(const std::string& name, std::span<std::byte> out)>;

/// The same, with one tensor in memory at a time: `read` gives each in turn; offsets in `tensors` are ignored.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorInfo>& tensors,
                       const TensorSource& read, const std::map<std::string, std::string>& metadata = {});

}  // namespace microdit::core
