// The arguments that torch rebuilds a tensor from, and where that puts its elements.
#include "core/torch_rebuild.h"

#include <algorithm>

#include "core/element_types.h"
#include "core/error.h"
#include "core/torch_limits.h"

namespace microdit::core::detail {
namespace {

std::uint64_t whole_number(const Pickle& pickle, PickleId id) {
  if (pickle[id].kind != PickleKind::integer || pickle[id].integer < 0)
    user_error("its offset, a size or a stride is no whole number of 63 bits");
  return static_cast<std::uint64_t>(pickle[id].integer);
}
std::vector<std::int64_t> whole_numbers(const Pickle& pickle, PickleId id) {
  const PickleValue* list = &pickle[id];
  if (list->kind == PickleKind::call && pickle.global_name(list->callable) == "torch Size" &&
      args_of(pickle, *list).size() == 1)
    list = &pickle[args_of(pickle, *list)[0]];
  if (list->kind != PickleKind::tuple && list->kind != PickleKind::list)
    user_error("its shape or its strides are no list");
  if (list->items.size() > TorchLimits::rank)
    user_error("it has {} axes (at most {})", list->items.size(), TorchLimits::rank);
  std::vector<std::int64_t> numbers;
  for (const PickleId item : list->items)
    numbers.push_back(static_cast<std::int64_t>(whole_number(pickle, item)));
  return numbers;
}
bool is_lazy(const Pickle& pickle, const PickleValue& metadata) {
  for (std::size_t i = 0; i + 1 < metadata.items.size(); i += 2)
    if (pickle[metadata.items[i + 1]].integer != 0) return true;
  return false;
}

}  // namespace

const std::vector<PickleId>& args_of(const Pickle& pickle, const PickleValue& call) {
  return pickle[call.args].items;
}

bool is_plain_tensor(std::string_view called) {
  return called == "torch._utils _rebuild_tensor" || called == "torch._utils _rebuild_tensor_v2" ||
         called == "torch._utils _rebuild_tensor_v3";
}

Description describe_tensor(const Pickle& pickle, const std::string& called,
                            const std::vector<PickleId>& args) {
  const bool third = called.ends_with("_v3");
  if (args.size() < (third ? 7u : 4u) || pickle[args[0]].kind != PickleKind::persistent)
    user_error("{} is called in another way than torch does", called);
  Description tensor{.storage = torch_storage(pickle, args[0])};
  tensor.type = third ? torch_type(pickle.global_name(args[6])) : tensor.storage.type;
  tensor.first = whole_number(pickle, args[1]);
  tensor.shape = whole_numbers(pickle, args[2]);
  tensor.strides = whole_numbers(pickle, args[3]);
  if (tensor.shape.size() != tensor.strides.size())
    user_error("it has {} sizes and {} strides", tensor.shape.size(), tensor.strides.size());
  if (tensor.type == nullptr)
    tensor.unreadable = "its element type is unknown";
  else if (!tensor.type->dtype)
    tensor.unreadable = foreign_type(tensor.type->name.empty() ? "none" : tensor.type->name);
  const std::size_t metadata = third ? 7 : 6;
  if (args.size() > metadata && is_lazy(pickle, pickle[args[metadata]]))
    tensor.unreadable = "it is a lazy conjugate or negative";
  return tensor;
}

StoredTensor place_tensor(const Description& tensor, const StorageBytes& storage) {
  StoredTensor stored{{*tensor.type->dtype, tensor.shape, 0, 0}, {}};
  const std::uint64_t size = tensor.type->bytes;
  std::uint64_t count = 1, last = tensor.first;
  bool overflow = false;
  for (const std::int64_t extent : tensor.shape)  // those beside a zero must be possible, too
    overflow |=
        __builtin_mul_overflow(count, static_cast<std::uint64_t>(std::max<std::int64_t>(extent, 1)), &count);
  overflow |= __builtin_mul_overflow(count, size, &stored.info.bytes) || stored.info.bytes >> 63 != 0;
  if (overflow) user_error("its shape has more elements than can be counted");
  if (std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end()) {
    stored.info.bytes = 0;
    return stored;
  }
  bool packed = true;
  std::uint64_t next = 1;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    const auto extent = static_cast<std::uint64_t>(tensor.shape[i]),
               stride = static_cast<std::uint64_t>(tensor.strides[i]);
    std::uint64_t reach = 0;
    overflow |=
        __builtin_mul_overflow(extent - 1, stride, &reach) || __builtin_add_overflow(last, reach, &last);
    packed &= extent == 1 || stride == next;
    next *= extent;
  }
  if (overflow || last >= storage.bytes / size)
    user_error("its shape, strides and offset reach beyond its storage of {} elements", storage.bytes / size);
  stored.info.offset = storage.offset + tensor.first * size;
  if (!packed) stored.strides = tensor.strides;
  return stored;
}

std::uint64_t view_bytes(const StoredTensor& tensor) {
  if (tensor.strides.empty()) return tensor.info.bytes;
  std::uint64_t elements = 1;
  for (std::size_t i = 0; i < tensor.strides.size(); ++i)
    elements +=
        static_cast<std::uint64_t>(tensor.info.shape[i] - 1) * static_cast<std::uint64_t>(tensor.strides[i]);
  return elements * size_of(tensor.info.dtype);
}

}  // namespace microdit::core::detail
