// Two formats become one table of tensors; views are packed while they are read.
#include "core/weights_file.h"

#include <algorithm>
#include <cstring>

#include "core/crc32.h"
#include "core/error.h"
#include "core/file_kind.h"
#include "core/safetensors_header.h"
#include "core/torch_file.h"

namespace microdit::core {
namespace {

InputFile open_file(const std::filesystem::path& path) {
  std::error_code none;
  if (std::filesystem::is_directory(path, none))
    user_error("{}: {}", path.string(), detail::folder_kind(path));
  return InputFile(path);
}

/// Copies the elements of a view, whose storage from its first element on is `from`, in row-major order.
void pack(std::span<const std::byte> from, const TensorInfo& info, const std::vector<std::int64_t>& strides,
          std::span<std::byte> out) {
  const std::size_t rank = info.shape.size(), size = size_of(info.dtype);
  std::vector<std::int64_t> index(rank, 0);
  std::size_t at = 0;  // element of `from`
  for (std::size_t done = 0; done < out.size(); done += size) {
    std::memcpy(out.data() + done, from.data() + at * size, size);
    for (std::size_t axis = rank; axis-- > 0;) {
      at += static_cast<std::size_t>(strides[axis]);
      if (++index[axis] < info.shape[axis]) break;
      at -= static_cast<std::size_t>(info.shape[axis] * strides[axis]);
      index[axis] = 0;
    }
  }
}

}  // namespace

WeightsFile::WeightsFile(const std::filesystem::path& path) : file_(open_file(path)) {
  try {
    const std::string begin = file_.read_string(0, std::min<std::uint64_t>(detail::kKindBytes, file_.size()));
    const bool is_safetensors =
        begin.size() > 8 && begin[8] == '{';  // its header's size may look like anything
    const detail::TorchContainer container = detail::torch_container(begin);
    if (is_safetensors || container == detail::TorchContainer::none) {
      open_safetensors();
    } else {
      open_torch(container);
    }
  } catch (const UserError& error) {
    user_error("{}: {}", path.string(), error.what());
  }
}

void WeightsFile::open_safetensors() {
  detail::SafetensorsHeader header = detail::read_safetensors_header(file_);
  tensors_ = std::move(header.tensors);
  unreadable_ = std::move(header.unreadable);
  metadata_ = std::move(header.metadata);
  const bool is_of_convert =
      metadata_.contains("buffers");  // it notes names there, and writes no tensor twice
  for (const auto& [name, kept] : metadata_) {
    if (is_of_convert || name == "format" || tensors_.contains(name) || unreadable_.contains(name)) continue;
    if (tensors_.contains(kept))
      aliases_.emplace(name, kept);
    else if (const auto why = unreadable_.find(kept); why != unreadable_.end())
      unreadable_.emplace(name, why->second);
  }
  for (const auto& [name, kept] : aliases_) tensors_.emplace(name, tensors_.at(kept));
}

void WeightsFile::open_torch(detail::TorchContainer container) {
  try {
    auto [stored, checksums] = detail::read_torch_file(file_, container);
    if (stored.tensors.empty() && !stored.unreadable.empty()) {
      const auto& [name, why] = *stored.unreadable.begin();
      user_error("no tensor in it can be read; '{}': {}", name, why);
    }
    for (auto& [name, tensor] : stored.tensors) {
      if (!tensor.strides.empty()) strides_.emplace(name, std::move(tensor.strides));
      tensors_.emplace(name, std::move(tensor.info));
    }
    checksums_ = std::move(checksums);
    aliases_ = std::move(stored.aliases);
    unreadable_ = std::move(stored.unreadable);
  } catch (const UserError& error) {
    user_error("a PyTorch file that is not taken: {}", error.what());
  }
}

const TensorInfo& WeightsFile::info(const std::string& name) const {
  if (const auto found = tensors_.find(name); found != tensors_.end()) return found->second;
  if (const auto why = unreadable_.find(name); why != unreadable_.end())
    user_error("{}: tensor '{}' cannot be read: {}", path().string(), name, why->second);
  user_error("{}: has no tensor '{}'", path().string(), name);
}

void WeightsFile::read(const std::string& name, std::span<std::byte> out) const {
  const TensorInfo& tensor = info(name);
  check(out.size() == tensor.bytes, "tensor '{}' has {} bytes, not {}", name, tensor.bytes, out.size());
  const auto strides = strides_.find(name);
  std::vector<std::byte> view;
  if (strides != strides_.end()) view.resize(detail::view_bytes({tensor, strides->second}));
  const std::span<std::byte> raw = view.empty() ? out : std::span(view);
  file_.read_at(tensor.offset, raw);
  const auto sum = checksums_.find(tensor.offset);
  if (sum != checksums_.end() && sum->second.bytes == raw.size() && crc32(raw) != sum->second.crc)
    user_error("{}: tensor '{}' is damaged (checksum); download or copy the file again", path().string(),
               name);
  if (!view.empty()) pack(view, tensor, strides->second, out);
}

void WeightsFile::read_range(const std::string& name, std::uint64_t begin, std::span<std::byte> out) const {
  const TensorInfo& tensor = info(name);
  check(begin <= tensor.bytes && out.size() <= tensor.bytes - begin,
        "range [{}, +{}) of tensor '{}' with {} bytes", begin, out.size(), name, tensor.bytes);
  if (!strides_.contains(name)) return file_.read_at(tensor.offset + begin, out);
  std::vector<std::byte> whole(tensor.bytes);
  read(name, whole);
  std::memcpy(out.data(), whole.data() + begin, out.size());
}

}  // namespace microdit::core
