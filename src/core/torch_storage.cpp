// The table of element types, and the persistent identity of a storage.
#include "core/torch_storage.h"

#include <array>

#include "core/error.h"
#include "core/utf8.h"

namespace microdit::core::detail {
namespace {

constexpr std::array<TorchType, 26> kTypes{{{"FloatStorage", "float32", 4, DType::f32},
                                            {"HalfStorage", "float16", 2, DType::f16},
                                            {"BFloat16Storage", "bfloat16", 2, DType::bf16},
                                            {"DoubleStorage", "float64", 8, DType::f64},
                                            {"LongStorage", "int64", 8, DType::i64},
                                            {"IntStorage", "int32", 4, DType::i32},
                                            {"ShortStorage", "int16", 2, DType::i16},
                                            {"CharStorage", "int8", 1, DType::i8},
                                            {"ByteStorage", "uint8", 1, DType::u8},
                                            {"BoolStorage", "bool", 1, DType::boolean},
                                            {"", "uint16", 2, DType::u16},
                                            {"", "uint32", 4, DType::u32},
                                            {"", "uint64", 8, DType::u64},
                                            {"UntypedStorage", "", 1, {}},
                                            {"ComplexFloatStorage", "complex64", 8, {}},
                                            {"ComplexDoubleStorage", "complex128", 16, {}},
                                            {"", "complex32", 4, {}},
                                            {"QInt8Storage", "qint8", 1, {}},
                                            {"QUInt8Storage", "quint8", 1, {}},
                                            {"QInt32Storage", "qint32", 4, {}},
                                            {"QUInt4x2Storage", "quint4x2", 1, {}},
                                            {"QUInt2x4Storage", "quint2x4", 1, {}},
                                            {"", "float8_e4m3fn", 1, {}},
                                            {"", "float8_e5m2", 1, {}},
                                            {"", "float8_e4m3fnuz", 1, {}},
                                            {"", "float8_e5m2fnuz", 1, {}}}};

}  // namespace

const TorchType* torch_type(std::string_view global) {
  const std::size_t cut = global.rfind(' ');
  if (cut == global.npos) return nullptr;
  const std::string_view module = global.substr(0, cut), name = global.substr(cut + 1);
  if (name.empty() || (module != "torch" && module != "torch.storage" && module != "torch.cuda"))
    return nullptr;
  for (const TorchType& type : kTypes)
    if (name == type.storage || (name == type.name && module == "torch")) return &type;
  return nullptr;
}

std::string torch_module_class(const Pickle& pickle, PickleId id) {
  if (id == kNoValue || pickle[id].kind != PickleKind::persistent) return "";
  const PickleValue& identity = pickle[pickle[id].args];
  const bool is_class = identity.kind == PickleKind::tuple && identity.items.size() == 4 &&
                        pickle[identity.items[0]].text == "module";
  return is_class ? pickle.global_name(identity.items[1]) : "";
}

TorchStorage torch_storage(const Pickle& pickle, PickleId persistent) {
  const PickleValue& identity = pickle[pickle[persistent].args];
  const auto fail = [](std::string_view what) {
    user_error("a storage is described in a way that torch.save does not ({})", what);
  };
  const std::vector<PickleId>& items = identity.items;
  if (identity.kind != PickleKind::tuple || items.size() < 5 || items.size() > 6 ||
      pickle[items[0]].text != "storage")
    fail("not ('storage', class, key, location, numel)");
  if (pickle[items[2]].kind != PickleKind::text) fail("its key is no text");
  TorchStorage storage;
  storage.key = pickle[items[2]].text;
  storage.type = torch_type(pickle.global_name(items[1]));
  if (storage.type == nullptr || storage.type->storage.empty())
    fail(fmt::format("class {}", shortened(pickle.global_name(items[1]), 100)));
  const PickleValue& numel = pickle[items[4]];
  if (numel.kind != PickleKind::integer || numel.integer < 0 ||
      __builtin_mul_overflow(static_cast<std::uint64_t>(numel.integer), storage.type->bytes, &storage.bytes))
    fail("its number of elements");
  if (items.size() == 6 && pickle[items[5]].kind != PickleKind::none)
    fail("a view of another storage, as torch 0.x wrote; save it again with torch 1 or 2");
  return storage;
}

}  // namespace microdit::core::detail
