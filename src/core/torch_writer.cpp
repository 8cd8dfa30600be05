// A state dict as PyTorch's zip file: the pickle first, then a record per tensor.
#include "core/torch_writer.h"

#include <array>
#include <vector>

#include "core/error.h"
#include "core/pickle_opcodes.h"
#include "core/zip_writer.h"

namespace microdit::core {
namespace {

std::string number(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

// --- the pickle --------------------------------------------------------------------------------

void put_op(std::string& out, unsigned char op) {
  out += static_cast<char>(op);
}

void put_text(std::string& out, std::string_view text) {
  put_op(out, detail::kBinUnicode);
  out += number(text.size(), 4);
  out += text;
}
void put_global(std::string& out, std::string_view module, std::string_view name) {
  put_op(out, detail::kGlobal);
  out += fmt::format("{}\n{}\n", module, name);
}
void put_integer(std::string& out, std::int64_t value) {
  put_op(out, detail::kLong1);
  out += '\x08';
  out += number(static_cast<std::uint64_t>(value), 8);
}
void put_tuple(std::string& out, const std::vector<std::int64_t>& values) {
  put_op(out, detail::kMark);
  for (const std::int64_t value : values) put_integer(out, value);
  put_op(out, detail::kTuple);
}

/// Of those types that have a storage class of their own.
std::string_view storage_class(DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return "BoolStorage";
    case DType::u8:
      return "ByteStorage";
    case DType::i8:
      return "CharStorage";
    case DType::i16:
      return "ShortStorage";
    case DType::f16:
      return "HalfStorage";
    case DType::bf16:
      return "BFloat16Storage";
    case DType::i32:
      return "IntStorage";
    case DType::f32:
      return "FloatStorage";
    case DType::f64:
      return "DoubleStorage";
    case DType::i64:
      return "LongStorage";
    case DType::u16:
    case DType::u32:
    case DType::u64:
      return "";
  }
  return "";
}

/// _rebuild_tensor_v2, or _v3 where the type must be told (torch 2.3 on).
void put_tensor(std::string& out, const TensorInfo& info, const std::string& key) {
  const std::string_view type = storage_class(info.dtype);
  put_global(out, "torch._utils", type.empty() ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
  put_op(out, detail::kMark);
  put_op(out, detail::kMark);
  put_text(out, "storage");
  if (type.empty())
    put_global(out, "torch.storage", "UntypedStorage");
  else
    put_global(out, "torch", type);
  put_text(out, key);
  put_text(out, "cpu");
  put_integer(out, static_cast<std::int64_t>(type.empty() ? info.bytes : info.bytes / size_of(info.dtype)));
  put_op(out, detail::kTuple);
  put_op(out, detail::kBinPersId);
  put_integer(out, 0);
  put_tuple(out, info.shape);
  std::vector<std::int64_t> strides(info.shape.size(), 1);
  for (std::size_t i = strides.size(); i-- > 1;)
    strides[i - 1] = strides[i] * std::max<std::int64_t>(info.shape[i], 1);
  put_tuple(out, strides);
  put_op(out, detail::kNewFalse);
  put_global(out, "collections", "OrderedDict");  // no hooks
  put_op(out, detail::kEmptyTuple);
  put_op(out, detail::kReduce);
  if (type.empty())
    put_global(out, "torch",
               info.dtype == DType::u16   ? "uint16"
               : info.dtype == DType::u32 ? "uint32"
                                          : "uint64");
  put_op(out, detail::kTuple);
  put_op(out, detail::kReduce);
}

}  // namespace

void write_torch_file(const std::filesystem::path& path, const std::map<std::string, TensorInfo>& tensors,
                      const TensorSource& read, const std::map<std::string, std::string>& aliases) {
  std::string pickle = "\x80\x02";
  put_op(pickle, detail::kEmptyDict);
  put_op(pickle, detail::kMark);
  std::map<std::string_view, std::string> keys;
  for (const auto& [name, info] : tensors) {
    put_text(pickle, name);
    const std::string key = std::to_string(keys.size());
    keys.emplace(name, key);
    put_tensor(pickle, info, key);
  }
  for (const auto& [name, kept] : aliases) {
    check(!tensors.contains(name) && tensors.contains(kept), "'{}' is no further name of '{}'", name, kept);
    put_text(pickle, name);
    put_tensor(pickle, tensors.at(kept), keys.at(kept));
  }
  put_op(pickle, detail::kSetItems);
  put_op(pickle, detail::kStop);

  ZipWriter zip(path);
  const auto text = [](std::string_view bytes) { return std::as_bytes(std::span(bytes)); };
  zip.add("archive/data.pkl", text(pickle));
  zip.add("archive/byteorder", text("little"));
  std::vector<std::byte> bytes;
  for (const auto& [name, info] : tensors) {
    bytes.resize(info.bytes);
    read(name, bytes);
    zip.add("archive/data/" + keys.at(name), bytes);
  }
  zip.add("archive/version", text("3\n"));
  zip.publish();
}

}  // namespace microdit::core
