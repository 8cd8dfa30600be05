// safetensors files: reading with pread, writing through atomic_write.
#include "core/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/safetensors_header.h"

namespace microdit::core {
namespace {

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump();
}

std::uint64_t packed_bytes(const TensorView& tensor) {
  std::uint64_t bytes = size_of(tensor.dtype);
  for (std::int64_t extent : tensor.shape) {
    check(extent >= 0, "tensor '{}' has a negative extent", tensor.name);
    check(!__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes), "tensor '{}' overflows",
          tensor.name);
  }
  return bytes;
}

/// What a header says of a tensor, but where it lies.
struct Planned {
  const std::string* name;
  DType dtype;
  const std::vector<std::int64_t>* shape;
  std::uint64_t bytes;
};

SafetensorsLayout plan(const std::vector<Planned>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  SafetensorsLayout layout;
  layout.order.resize(tensors.size());
  std::iota(layout.order.begin(), layout.order.end(), std::size_t{0});
  // Widest types first, so that every tensor is aligned to its own element.
  std::sort(layout.order.begin(), layout.order.end(), [&](std::size_t left, std::size_t right) {
    return std::tie(tensors[right].dtype, *tensors[left].name) <
           std::tie(tensors[left].dtype, *tensors[right].name);
  });
  std::string members;
  if (!metadata.empty()) {
    for (const auto& [key, value] : metadata) {
      members +=
          fmt::format("{}{}:{}", members.empty() ? "\"__metadata__\":{" : ",", quoted(key), quoted(value));
    }
    members += '}';
  }
  std::set<std::string_view> names{"__metadata__"};
  std::uint64_t offset = 0;
  for (std::size_t index : layout.order) {
    const Planned& tensor = tensors[index];
    check(names.insert(*tensor.name).second, "tensor name '{}' is taken", *tensor.name);
    members += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                           members.empty() ? "" : ",", quoted(*tensor.name), name_of(tensor.dtype),
                           fmt::join(*tensor.shape, ","), offset, offset + tensor.bytes);
    offset += tensor.bytes;
  }
  std::string json = "{" + members + "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  check(json.size() <= detail::kMaxHeaderBytes, "a safetensors header of {} bytes is too large", json.size());
  for (int i = 0; i < 8; ++i) layout.header += static_cast<char>((json.size() >> (8 * i)) & 0xffu);
  layout.header += json;
  return layout;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  try {
    detail::SafetensorsHeader header = detail::read_safetensors_header(file_);
    if (!header.unreadable.empty())
      user_error("tensor '{}' cannot be read: {}", header.unreadable.begin()->first,
                 header.unreadable.begin()->second);
    tensors_ = std::move(header.tensors);
    metadata_ = std::move(header.metadata);
  } catch (const UserError& error) {
    user_error("{}: {}", path.string(), error.what());
  }
}

void SafetensorsFile::read(const std::string& name, std::span<std::byte> out) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) {
    check(out.size() == found->second.bytes, "tensor '{}' has {} bytes, not {}", name, found->second.bytes,
          out.size());
  }
  read_range(name, 0, out);
}

void SafetensorsFile::read_range(const std::string& name, std::uint64_t begin,
                                 std::span<std::byte> out) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) user_error("{}: has no tensor '{}'", path().string(), name);
  const TensorInfo& info = found->second;
  check(begin <= info.bytes && out.size() <= info.bytes - begin,
        "range [{}, +{}) of tensor '{}' with {} bytes", begin, out.size(), name, info.bytes);
  file_.read_at(info.offset + begin, out);
}

SafetensorsLayout safetensors_layout(std::span<const TensorView> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  std::vector<Planned> planned;
  for (const TensorView& tensor : tensors) {
    check(tensor.bytes.size() == packed_bytes(tensor), "tensor '{}' does not have the bytes its shape says",
          tensor.name);
    planned.push_back({&tensor.name, tensor.dtype, &tensor.shape, tensor.bytes.size()});
  }
  return plan(planned, metadata);
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const SafetensorsLayout layout = safetensors_layout(tensors, metadata);
  std::vector<std::span<const std::byte>> pieces{std::as_bytes(std::span(layout.header))};
  for (std::size_t index : layout.order) pieces.push_back(tensors[index].bytes);
  atomic_write(path, pieces);
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorInfo>& tensors,
                       const TensorSource& read, const std::map<std::string, std::string>& metadata) {
  std::vector<Planned> planned;
  for (const auto& [name, info] : tensors) planned.push_back({&name, info.dtype, &info.shape, info.bytes});
  const SafetensorsLayout layout = plan(planned, metadata);
  Aside out(path);
  out.write(std::as_bytes(std::span(layout.header)));
  std::vector<std::byte> bytes;
  for (const std::size_t index : layout.order) {
    bytes.resize(planned[index].bytes);
    read(*planned[index].name, bytes);
    out.write(bytes);
  }
  out.publish();
}

}  // namespace microdit::core
