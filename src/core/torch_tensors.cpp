// Walking a pickle's values down to its tensors.
#include "core/torch_tensors.h"

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>

#include "core/torch_limits.h"
#include "core/torch_rebuild.h"
#include "core/torch_storage.h"
#include "core/utf8.h"

namespace microdit::core::detail {
namespace {

bool is_mapping(std::string_view called) {
  return called == "collections OrderedDict" || called == "collections defaultdict";
}

class Walk {
 public:
  Walk(const Pickle& pickle, const Storages& storages, std::uint64_t file_bytes)
      : pickle_(pickle), storages_(storages), seen_(pickle.values.size()), on_path_(pickle.values.size()) {
    left_ = file_bytes > std::numeric_limits<std::uint64_t>::max() / 8
                ? file_bytes
                : file_bytes * TorchLimits::cost_factor;
    left_ += TorchLimits::cost_bytes;
  }

  StoredTensors run() {
    visit(pickle_.root, "", 0);
    return std::move(found_);
  }

 private:
  void visit(PickleId id, const std::string& name, std::size_t depth) {
    if (++visits_ > TorchLimits::visits)
      user_error("its containers unfold to more than {} values", TorchLimits::visits);
    const PickleValue& value = pickle_[id];
    if (value.kind == PickleKind::persistent) {
      if (torch_module_class(pickle_, id).empty()) note_unreadable(name, "it is a bare storage, no tensor");
      return;
    }
    if (value.kind < PickleKind::tuple) return;
    if (on_path_[id]) user_error("'{}' holds itself", shown(name));
    if (depth >= TorchLimits::depth)
      user_error("'{}' is more than {} containers deep", shown(name), TorchLimits::depth);
    on_path_[id] = true;
    if (value.kind == PickleKind::dict)
      visit_pairs(value.items, name, depth);
    else if (value.kind == PickleKind::call)
      visit_call(value, id, name, depth);
    else
      visit_list(value.items, name, depth);
    on_path_[id] = false;
  }

  void visit_list(const std::vector<PickleId>& items, const std::string& name, std::size_t depth) {
    for (std::size_t i = 0; i < items.size(); ++i)
      if (pickle_[items[i]].kind >= PickleKind::tuple)
        visit(items[i], joined(name, std::to_string(i)), depth + 1);
  }

  void visit_pairs(const std::vector<PickleId>& items, const std::string& name, std::size_t depth) {
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      const PickleValue& key = pickle_[items[i]];
      if (pickle_[items[i + 1]].kind < PickleKind::tuple) continue;
      if (key.kind == PickleKind::text)
        visit(items[i + 1], joined(name, key.text), depth + 1);
      else if (key.kind == PickleKind::integer)
        visit(items[i + 1], joined(name, std::to_string(key.integer)), depth + 1);
      else if (holds_storage(items[i + 1]))
        note_unreadable(name, "a key in it is neither a text nor an integer");
    }
  }

  /// An OrderedDict as Python 2 wrote it: its one argument is a list of pairs.
  void visit_pair_lists(const PickleValue& call, const std::string& name, std::size_t depth) {
    const std::vector<PickleId>& args = args_of(pickle_, call);
    if (args.empty() || pickle_[args[0]].kind != PickleKind::list) return;
    for (const PickleId pair : pickle_[args[0]].items) {
      if (pickle_[pair].items.size() != 2)
        user_error("'{}' is an OrderedDict of what are no pairs", shown(name));
      visit_pairs(pickle_[pair].items, name, depth);
    }
  }

  void visit_call(const PickleValue& call, PickleId id, const std::string& name, std::size_t depth) {
    const std::string module = torch_module_class(pickle_, call.callable);
    const std::string called = module.empty() ? pickle_.global_name(call.callable) : module;
    const std::vector<PickleId>& args = args_of(pickle_, call);
    if (is_mapping(called)) {
      visit_pair_lists(call, name, depth);
      visit_pairs(call.items, name, depth);
    } else if (is_plain_tensor(called)) {
      add_tensor(called, args, name.empty() ? "tensor" : name);
    } else if ((called == "torch._utils _rebuild_parameter" ||
                called == "torch._utils _rebuild_parameter_with_state") &&
               !args.empty()) {
      visit(args[0], name, depth + 1);
    } else if (called == "torch._tensor _rebuild_from_type_v2" && is_typed_tensor(args)) {
      // (function, class, arguments, state): a tensor with attributes, or a Buffer.
      add_tensor(pickle_.global_name(args[0]), pickle_[args[2]].items, name.empty() ? "tensor" : name);
    } else if (called.starts_with("torch._utils _rebuild_")) {
      note_unreadable(name, fmt::format("it is made by {}: sparse, quantized, or without values",
                                        shortened(called, 200)));
    } else if (holds_storage(id)) {
      note_unreadable(name, fmt::format("it is inside an object of {}, which is never made{}",
                                        shortened(called.empty() ? "a computed class" : called, 200),
                                        is_module(call) ? how_to_save(name) : ""));
    }
  }

  /// What torch.nn.Module's own state has.
  bool is_module(const PickleValue& call) const {
    if (call.state == kNoValue) return false;
    const std::vector<PickleId>& items = pickle_[call.state].items;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2)
      if (pickle_[items[i]].text == "_parameters") return true;
    return false;
  }

  /// Of a whole model that was saved, by its name in the file.
  static std::string how_to_save(const std::string& name) {
    std::string path;
    for (std::size_t begin = 0; begin < name.size();) {
      const std::size_t end = std::min(name.find('.', begin), name.size());
      const std::string key = name.substr(begin, end - begin);
      path += key.find_first_not_of("0123456789") == key.npos ? "[" + key + "]" : "['" + key + "']";
      begin = end + 1;
    }
    return fmt::format(
        ": a whole model was saved, not its state dict. Where its code is installed, and if you trust the "
        "file, which Python then executes: torch.save(torch.load('FILE', map_location='cpu', "
        "weights_only=False){}.state_dict(), 'NEW.pt')",
        shortened(path, 200));
  }

  bool is_typed_tensor(const std::vector<PickleId>& args) const {
    if (args.size() != 4 || pickle_[args[2]].kind != PickleKind::tuple ||
        !is_plain_tensor(pickle_.global_name(args[0])))
      return false;
    const std::string type = pickle_.global_name(args[1]);
    return type == "torch Tensor" || type == "torch._tensor Tensor" || type == "torch.nn.parameter Buffer" ||
           type == "torch.nn.parameter Parameter";
  }

  void add_tensor(const std::string& called, const std::vector<PickleId>& args, const std::string& name) {
    count_name(name);
    try {
      const Description description = describe_tensor(pickle_, called, args);
      if (!description.unreadable.empty()) return note_unreadable(name, description.unreadable);
      StoredTensor tensor = place_tensor(description, storages_.at(std::string(description.storage.key)));
      note_same_elements(tensor, name);
      if (!found_.tensors.emplace(name, std::move(tensor)).second) user_error("two tensors have this name");
    } catch (const UserError& error) {
      user_error("tensor '{}': {}", shown(name), error.what());
    }
  }

  /// Either it is an alias, or reading it costs what it spans.
  void note_same_elements(const StoredTensor& tensor, const std::string& name) {
    if (tensor.info.bytes == 0) return;
    const auto [known, is_new] = first_names_.try_emplace(
        std::tuple(tensor.info.offset, tensor.info.dtype, tensor.info.shape, tensor.strides), name);
    if (!is_new) {
      found_.aliases.emplace(name, known->second);
      return;
    }
    const std::uint64_t span = view_bytes(tensor);
    if (!tensor.strides.empty() && span > TorchLimits::view_bytes)
      user_error("it is a view of {} bytes that is not contiguous; save a contiguous copy of it", span);
    const std::uint64_t cost = std::max(span, tensor.info.bytes);
    if (cost > left_)
      user_error(
          "the tensors up to here ask for far more bytes than the file has (views of the same storages)");
    left_ -= cost;
  }

  /// Whether a storage lies in it or below; what has been looked at is not looked at again.
  bool holds_storage(PickleId id) {
    std::vector<PickleId> todo{id};
    bool found = false;
    while (!todo.empty()) {
      const PickleId next = todo.back();
      todo.pop_back();
      if (next == kNoValue || seen_[next]) continue;
      seen_[next] = true;
      const PickleValue& value = pickle_[next];
      found |= value.kind == PickleKind::persistent && torch_module_class(pickle_, next).empty();
      if (value.kind == PickleKind::call) todo.insert(todo.end(), {value.callable, value.args, value.state});
      todo.insert(todo.end(), value.items.begin(), value.items.end());
    }
    return found;
  }

  void note_unreadable(const std::string& name, const std::string& why) {
    count_name(name);
    found_.unreadable.emplace(name.empty() ? "the object" : name, why);
  }

  void count_name(const std::string& name) {
    names_bytes_ += name.size();
    if (++num_names_ > TorchLimits::tensors || names_bytes_ > TorchLimits::names_bytes)
      user_error("it holds more than {} tensors, or their names more than {} bytes", TorchLimits::tensors,
                 TorchLimits::names_bytes);
  }

  static std::string joined(const std::string& name, std::string_view key) {
    if (name.size() + key.size() >= TorchLimits::name_bytes || first_invalid_utf8(key) ||
        key.find('\0') != key.npos)
      user_error("a key below '{}' is no name: too long, not UTF-8, or with a zero byte", shown(name));
    return name.empty() ? std::string(key) : fmt::format("{}.{}", name, key);
  }
  static std::string shown(const std::string& name) {
    return name.empty() ? "the outermost container" : shortened(name, 200);
  }

  const Pickle& pickle_;
  const Storages& storages_;
  StoredTensors found_;
  std::vector<bool> seen_, on_path_;
  std::uint64_t visits_ = 0, left_ = 0;
  std::size_t num_names_ = 0, names_bytes_ = 0;
  std::map<std::tuple<std::uint64_t, DType, std::vector<std::int64_t>, std::vector<std::int64_t>>,
           std::string>
      first_names_;
};

}  // namespace

Storages named_storages(const Pickle& pickle) {
  Storages storages;
  for (PickleId id = 0; id < pickle.values.size(); ++id) {
    if (pickle[id].kind != PickleKind::persistent || !torch_module_class(pickle, id).empty()) continue;
    const TorchStorage storage = torch_storage(pickle, id);
    const auto [known, is_new] =
        storages.try_emplace(std::string(storage.key), StorageBytes{storage.bytes, storage.type->bytes, 0});
    if (!is_new && known->second.bytes != storage.bytes)
      user_error("storage '{}' has {} bytes in one place and {} in another",
                 shortened(with_valid_utf8(storage.key), 100), known->second.bytes, storage.bytes);
    if (storages.size() > TorchLimits::tensors)
      user_error("it names more than {} storages", TorchLimits::tensors);
  }
  return storages;
}

StoredTensors find_tensors(const Pickle& pickle, const Storages& storages, std::uint64_t file_bytes) {
  return Walk(pickle, storages, file_bytes).run();
}

}  // namespace microdit::core::detail
