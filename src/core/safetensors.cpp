// safetensors files: reading with pread, writing through atomic_write.
#include "core/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
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

void read_at(int fd, const std::filesystem::path& path, std::uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const std::size_t want = std::min<std::size_t>(out.size(), 1u << 30);
    const ssize_t got = ::pread(fd, out.data(), want, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) errno_error(errno, "{}: cannot read", path.string());
    if (got == 0) system_error("{}: ends before byte {}; it has been cut while open", path.string(), offset);
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

std::string read_string(int fd, const std::filesystem::path& path, std::uint64_t offset, std::uint64_t size) {
  std::string text(size, '\0');
  read_at(fd, path, offset, std::as_writable_bytes(std::span(text)));
  return text;
}

detail::SafetensorsHeader read_header(int fd, const std::filesystem::path& path) {
  struct stat about {};
  if (::fstat(fd, &about) != 0) errno_error(errno, "{}: cannot stat", path.string());
  if (!S_ISREG(about.st_mode)) user_error("not a regular file");
  const auto file_size = static_cast<std::uint64_t>(about.st_size);
  const std::string begin = read_string(fd, path, 0, std::min<std::uint64_t>(512, file_size));
  // A header's size may begin with any bytes; what follows it is an object.
  const bool has_object = begin.size() > 8 && begin[8] == '{';
  if (const std::string foreign = detail::foreign_format(begin); !has_object && !foreign.empty())
    user_error("{}", foreign);
  const std::string prefix = begin.substr(0, 8);
  const std::uint64_t size = detail::checked_header_size(prefix, file_size);
  return detail::parse_safetensors_header(read_string(fd, path, 8, size), file_size);
}

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

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0 && is_fault(errno)) errno_error(errno, "{}: cannot open", path.string());
  if (fd_ < 0) user_error("{}: cannot open: {}", path.string(), std::strerror(errno));
  try {
    detail::SafetensorsHeader header = read_header(fd_, path);
    tensors_ = std::move(header.tensors);
    metadata_ = std::move(header.metadata);
  } catch (const UserError& error) {
    ::close(fd_);
    user_error("{}: {}", path.string(), error.what());
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() {
  if (fd_ >= 0) ::close(fd_);
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      tensors_(std::move(other.tensors_)),
      metadata_(std::move(other.metadata_)) {}

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
  if (found == tensors_.end()) user_error("{}: has no tensor '{}'", path_.string(), name);
  const TensorInfo& info = found->second;
  check(begin <= info.bytes && out.size() <= info.bytes - begin,
        "range [{}, +{}) of tensor '{}' with {} bytes", begin, out.size(), name, info.bytes);
  read_at(fd_, path_, info.offset + begin, out);
}

SafetensorsLayout safetensors_layout(std::span<const TensorView> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  SafetensorsLayout layout;
  layout.order.resize(tensors.size());
  std::iota(layout.order.begin(), layout.order.end(), std::size_t{0});
  // Widest types first, so that every tensor is aligned to its own element.
  std::sort(layout.order.begin(), layout.order.end(), [&](std::size_t left, std::size_t right) {
    return std::tie(tensors[right].dtype, tensors[left].name) <
           std::tie(tensors[left].dtype, tensors[right].name);
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
    const TensorView& tensor = tensors[index];
    check(names.insert(tensor.name).second, "tensor name '{}' is taken", tensor.name);
    check(tensor.bytes.size() == packed_bytes(tensor), "tensor '{}' does not have the bytes its shape says",
          tensor.name);
    members += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                           members.empty() ? "" : ",", quoted(tensor.name), name_of(tensor.dtype),
                           fmt::join(tensor.shape, ","), offset, offset + tensor.bytes.size());
    offset += tensor.bytes.size();
  }
  std::string json = "{" + members + "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  check(json.size() <= detail::kMaxHeaderBytes, "a safetensors header of {} bytes is too large", json.size());
  for (int i = 0; i < 8; ++i) layout.header += static_cast<char>((json.size() >> (8 * i)) & 0xffu);
  layout.header += json;
  return layout;
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const SafetensorsLayout layout = safetensors_layout(tensors, metadata);
  std::vector<std::span<const std::byte>> pieces{std::as_bytes(std::span(layout.header))};
  for (std::size_t index : layout.order) pieces.push_back(tensors[index].bytes);
  atomic_write(path, pieces);
}

}  // namespace microdit::core
