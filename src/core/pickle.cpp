// The stack machine that pickles are written for, without its effects.
#include "core/pickle.h"

#include <unordered_map>
#include <utility>

#include "core/pickle_opcodes.h"
#include "core/pickle_stack.h"
#include "core/torch_limits.h"
#include "core/utf8.h"

namespace microdit::core::detail {
namespace {

constexpr std::uint64_t kLastProtocol = 5;

class Machine : PickleStack {
 public:
  explicit Machine(std::string_view bytes) : PickleStack(bytes) {}

  Pickle run() {
    for (std::uint64_t count = 0;; ++count) {
      if (count >= TorchLimits::opcodes)
        refuse(fmt::format("it has more than {} opcodes", TorchLimits::opcodes));
      op_ = static_cast<unsigned char>(take(1)[0]);
      if (op_ == kStop) break;
      if (!number() && !text() && !container() && !stack_and_memo() && !object())
        refuse("the opcode is not taken");
    }
    pickle_.root = pop();
    pickle_.bytes = at_;
    return std::move(pickle_);
  }

 private:
  // --- opcodes by kind: each says whether the opcode was its own --------------------------------

  bool number() {
    switch (op_) {
      case kNone:
        return make(PickleKind::none), true;
      case kNewTrue:
        return push_boolean(true), true;
      case kNewFalse:
        return push_boolean(false), true;
      case kInt:
        return push_decimal(false), true;
      case kLong:
        return push_decimal(true), true;
      case kBinInt:
        return push_integer(static_cast<std::int32_t>(take_number(4))), true;
      case kBinInt1:
        return push_integer(static_cast<std::int64_t>(take_number(1))), true;
      case kBinInt2:
        return push_integer(static_cast<std::int64_t>(take_number(2))), true;
      case kLong1:
        return push_long(take_counted(1)), true;
      case kLong4:
        return push_long(take_counted(4)), true;
      case kBinFloat:
        return make(PickleKind::real).text = take(8), true;
      default:
        return false;
    }
  }

  bool text() {
    // Python 2 wrote names as byte strings.
    switch (op_) {
      case kShortBinString:
      case kShortBinUnicode:
        return make(PickleKind::text).text = take_counted(1), true;
      case kBinString:
      case kBinUnicode:
        return make(PickleKind::text).text = take_counted(4), true;
      case kBinUnicode8:
        return make(PickleKind::text).text = take_counted(8), true;
      case kShortBinBytes:
        return make(PickleKind::bytes).text = take_counted(1), true;
      case kBinBytes:
        return make(PickleKind::bytes).text = take_counted(4), true;
      case kBinBytes8:
      case kByteArray8:
        return make(PickleKind::bytes).text = take_counted(8), true;
      default:
        return false;
    }
  }

  void push_items(PickleKind kind, std::vector<PickleId> items) { make(kind).items = std::move(items); }

  /// Adds to the container, or to what a call would have made, at the top of the stack.
  void add(PickleKind kind, const std::vector<PickleId>& items) {
    PickleValue& target = value(top());
    if (target.kind != kind && target.kind != PickleKind::call)
      refuse("it adds to what is no such container");
    if (kind == PickleKind::dict && items.size() % 2 != 0) refuse("a key without a value");
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  bool container() {
    switch (op_) {
      case kEmptyTuple:
        return make(PickleKind::tuple), true;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return push_items(PickleKind::tuple, pop_some(op_ - kTuple1 + 1u)), true;
      case kTuple:
        return push_items(PickleKind::tuple, pop_to_mark()), true;
      case kEmptyList:
        return make(PickleKind::list), true;
      case kList:
        return push_items(PickleKind::list, pop_to_mark()), true;
      case kAppend: {
        const auto items = pop_some(1);
        return add(PickleKind::list, items), true;
      }
      case kAppends: {
        const auto items = pop_to_mark();
        return add(PickleKind::list, items), true;
      }
      case kEmptyDict:
        return make(PickleKind::dict), true;
      case kDict: {
        auto items = pop_to_mark();
        if (items.size() % 2 != 0) refuse("a key without a value");
        return push_items(PickleKind::dict, std::move(items)), true;
      }
      case kSetItem: {
        const auto items = pop_some(2);
        return add(PickleKind::dict, items), true;
      }
      case kSetItems: {
        const auto items = pop_to_mark();
        return add(PickleKind::dict, items), true;
      }
      case kEmptySet:
        return make(PickleKind::set), true;
      case kFrozenSet:
        return push_items(PickleKind::set, pop_to_mark()), true;
      case kAddItems: {
        const auto items = pop_to_mark();
        return add(PickleKind::set, items), true;
      }
      default:
        return false;
    }
  }

  void put(std::uint64_t key) { memo_[static_cast<std::uint32_t>(key)] = top(); }
  void get(std::uint64_t key) {
    const auto found = memo_.find(static_cast<std::uint32_t>(key));
    if (found == memo_.end()) refuse(fmt::format("the memo has no {}", key));
    stack_.push_back(found->second);
  }

  bool stack_and_memo() {
    switch (op_) {
      case kProto:
        if (take_number(1) > kLastProtocol) refuse("a protocol beyond 5");
        return true;
      case kFrame:
        return take_number(8), true;
      case kMark:
        if (marks_.size() >= TorchLimits::marks) refuse("too many open containers");
        return marks_.push_back(stack_.size()), true;
      case kPop:
        if (stack_.size() == floor()) return pop_to_mark(), true;
        return stack_.pop_back(), true;
      case kPopMark:
        return pop_to_mark(), true;
      case kDup:
        return stack_.push_back(top()), true;
      case kBinPut:
        return put(take_number(1)), true;
      case kLongBinPut:
        return put(take_number(4)), true;
      case kMemoize:
        return put(memo_.size()), true;
      case kBinGet:
        return get(take_number(1)), true;
      case kLongBinGet:
        return get(take_number(4)), true;
      default:
        return false;
    }
  }

  /// A call of `callable` that is not made.
  void push_call(PickleId callable, PickleId args) {
    const PickleKind what = value(callable).kind;
    // Legacy files name the classes of modules by persistent values.
    if (what != PickleKind::global && what != PickleKind::call && what != PickleKind::persistent)
      refuse("what is called is no name");
    if (value(args).kind != PickleKind::tuple) refuse("arguments that are no tuple");
    PickleValue& call = make(PickleKind::call);
    call.callable = callable;
    call.args = args;
  }
  void push_global() {
    const std::size_t begin = at_;
    const std::size_t module = take_line(TorchLimits::global_bytes).size();
    const std::size_t name = take_line(TorchLimits::global_bytes).size();
    make(PickleKind::global).text = bytes_.substr(begin, module + 1 + name);
  }
  void push_stack_global() {
    const auto parts = pop_some(2);
    for (const PickleId part : parts)
      if (value(part).kind != PickleKind::text || value(part).text.size() > TorchLimits::global_bytes)
        refuse("a name that is no short text");
    PickleValue& global = make(PickleKind::global);
    global.callable = parts[0];
    global.args = parts[1];
  }
  /// INST and OBJ: the arguments lie behind the mark.
  void push_instance() {
    std::vector<PickleId> items = pop_to_mark();
    if (op_ == kInst) {
      push_global();
      items.insert(items.begin(), pop());
    }
    if (items.empty()) refuse("an object of no class");
    const PickleId callable = items.front();
    items.erase(items.begin());
    push_items(PickleKind::tuple, std::move(items));
    push_call(callable, pop());
  }

  bool object() {
    switch (op_) {
      case kGlobal:
        return push_global(), true;
      case kStackGlobal:
        return push_stack_global(), true;
      case kReduce:
      case kNewObj: {
        const auto parts = pop_some(2);
        return push_call(parts[0], parts[1]), true;
      }
      case kNewObjEx: {
        const auto parts = pop_some(3);
        push_call(parts[0], parts[1]);
        value(top()).items = {parts[2]};
        return true;
      }
      case kInst:
      case kObj:
        return push_instance(), true;
      case kBuild: {
        const PickleId state = pop();
        PickleValue& target = value(top());
        if (target.kind != PickleKind::call || target.state != kNoValue)
          refuse("a state for what takes none");
        return target.state = state, true;
      }
      case kBinPersId: {
        const PickleId identity = pop();
        return make(PickleKind::persistent).args = identity, true;
      }
      default:
        return false;
    }
  }

  std::unordered_map<std::uint32_t, PickleId> memo_;
};

}  // namespace

std::string Pickle::global_name(PickleId id) const {
  if (id == kNoValue || values[id].kind != PickleKind::global) return "";
  const PickleValue& global = values[id];
  std::string name = global.callable == kNoValue
                         ? std::string(global.text)
                         : fmt::format("{}\n{}", values[global.callable].text, values[global.args].text);
  if (const std::size_t cut = name.find('\n'); cut != name.npos) name[cut] = ' ';
  return with_valid_utf8(name);
}

Pickle read_pickle(std::string_view bytes) {
  return Machine(bytes).run();
}

}  // namespace microdit::core::detail
