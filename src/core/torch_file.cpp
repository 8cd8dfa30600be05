// Finding the pickle and the storages of a PyTorch file.
#include "core/torch_file.h"

#include <algorithm>
#include <set>

#include "core/crc32.h"
#include "core/error.h"
#include "core/torch_limits.h"
#include "core/utf8.h"
#include "core/zip_directory.h"

namespace microdit::core::detail {
namespace {

constexpr std::string_view kPickle = "/data.pkl";
/// The number 0x1950a86a20f9469cfc6c, little-endian as LONG1 has it and in decimal as protocol 1 has it.
constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::string_view kDecimalMagic = "119547037146038801333356";
constexpr std::int64_t kLegacyProtocol = 1001;
/// Of the zip format: 1 to 10 are read by torch (caffe2/serialize/versions.h).
constexpr int kLastVersion = 10;
constexpr std::uint64_t kSmallRecordBytes = 16;
constexpr std::uint64_t kFirstLegacyRead = 1 << 20;

// --- zip ---------------------------------------------------------------------------------------

void check_stored(const std::string& name, const ZipRecord& record) {
  if (record.compressed)
    user_error("its record {} is compressed; PyTorch stores: save it again with torch.save",
               shortened(name, 100));
}

std::string read_record(const InputFile& file, const std::string& name, const ZipRecord& record,
                        std::uint64_t limit) {
  if (record.bytes > limit) user_error("its record {} has {} bytes (at most {})", name, record.bytes, limit);
  check_stored(name, record);
  std::string bytes = file.read_string(record.offset, record.bytes);
  if (record.crc != 0 && crc32(std::as_bytes(std::span(bytes))) != record.crc)
    user_error("its record {} is damaged (checksum); download or copy the file again", name);
  return bytes;
}

/// The folder in the zip that everything lies in: the one with the pickle.
std::string find_stem(const ZipRecords& records) {
  std::string stem;
  bool is_script = false;
  for (const auto& [name, record] : records) {
    is_script |= name.ends_with("/constants.pkl") || name.find("/code/") != name.npos;
    if (!name.ends_with(kPickle) || name.find('/') != name.size() - kPickle.size()) continue;
    if (!stem.empty()) user_error("the zip holds two pickles, {}{} and {}", stem, kPickle, name);
    stem = name.substr(0, name.size() - kPickle.size());
  }
  if (is_script)
    user_error(
        "it is a TorchScript program (torch.jit.save), not a state dict: save its weights in Python with "
        "torch.save(torch.jit.load(FILE, map_location='cpu').state_dict(), NEW)");
  if (stem.empty())
    user_error(
        "it is a zip file without a data.pkl: no PyTorch file; unpack it if it holds the weights (its first "
        "record: {})",
        records.empty() ? "none" : shortened(records.begin()->first, 100));
  return stem;
}

void check_marks(const InputFile& file, const ZipRecords& records, const std::string& stem) {
  if (const auto order = records.find(stem + "/byteorder"); order != records.end()) {
    const std::string text = read_record(file, order->first, order->second, kSmallRecordBytes);
    if (text != "little")
      user_error("its byte order is '{}': save it again on a little-endian machine",
                 shortened(with_valid_utf8(text), 20));
  }
  if (const auto version = records.find(stem + "/version"); version != records.end()) {
    const std::string text = read_record(file, version->first, version->second, kSmallRecordBytes);
    int number = 0;
    for (const char digit : std::string_view(text).substr(0, text.find_last_not_of("\n\r ") + 1))
      number = digit >= '0' && digit <= '9' && number < 100 ? number * 10 + (digit - '0') : 1000;
    if (number < 1 || number > kLastVersion)
      user_error("its format is version '{}' (1 to {} are known)", shortened(with_valid_utf8(text), 20),
                 kLastVersion);
  }
}

TorchContents read_zip(const InputFile& file) {
  const ZipRecords records = read_zip_directory(file);
  const std::string stem = find_stem(records);
  check_marks(file, records, stem);
  const std::string bytes = read_record(file, stem + std::string(kPickle),
                                        records.at(stem + std::string(kPickle)), TorchLimits::pickle_bytes);
  const Pickle pickle = read_pickle(bytes);
  if (pickle.bytes != bytes.size())
    user_error("{} bytes follow the pickle's end", bytes.size() - pickle.bytes);
  Storages storages = named_storages(pickle);
  TorchContents contents;
  for (auto& [key, storage] : storages) {
    const auto record = records.find(fmt::format("{}/data/{}", stem, key));
    const std::string shown = shortened(with_valid_utf8(key), 100);
    if (record == records.end())
      user_error("the storage '{}' that its pickle names is not in the zip", shown);
    check_stored(record->first, record->second);
    if (record->second.bytes != storage.bytes)
      user_error("the storage '{}' has {} bytes, by its pickle {}", shown, record->second.bytes,
                 storage.bytes);
    storage.offset = record->second.offset;
    if (record->second.crc != 0) contents.checksums[storage.offset] = {storage.bytes, record->second.crc};
  }
  contents.stored = find_tensors(pickle, storages, file.size());
  return contents;
}

// --- legacy ------------------------------------------------------------------------------------

/// The pickles of a legacy file, one after another; more of the file is read as they turn out longer.
class LegacyPickles {
 public:
  explicit LegacyPickles(const InputFile& file) : file_(file) {}

  /// `work(pickle)`; texts of the pickle are valid inside it only.
  template <class Work>
  auto next(Work work) {
    std::string bytes;
    const Pickle pickle = read(bytes);
    at_ += pickle.bytes;
    return work(pickle);
  }
  std::uint64_t at() const { return at_; }

 private:
  Pickle read(std::string& bytes) const {
    const std::uint64_t most = std::min(TorchLimits::pickle_bytes, file_.size() - at_);
    for (std::uint64_t want = kFirstLegacyRead;; want *= 8) {
      bytes = file_.read_string(at_, std::min(want, most));
      try {
        return read_pickle(bytes);
      } catch (const PickleCut&) {
        if (want >= most) throw;
      }
    }
  }

  const InputFile& file_;
  std::uint64_t at_ = 0;
};

void check_system(const Pickle& pickle) {
  const std::vector<PickleId>& items = pickle[pickle.root].items;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2)
    if (pickle[items[i]].text == "little_endian" && pickle[items[i + 1]].integer == 0)
      user_error("it was written on a big-endian machine: save it again on a little-endian one");
}

/// The storages behind the pickles, in the order of `keys`: a count of elements (8 bytes), then the elements.
void find_storages(const InputFile& file, std::uint64_t at, const std::vector<std::string>& keys,
                   Storages& storages) {
  std::set<std::string_view> met;
  for (const std::string& key : keys) {
    const std::string shown = shortened(with_valid_utf8(key), 100);
    const auto storage = storages.find(key);
    if (storage == storages.end() || !met.insert(key).second)
      user_error("the storage '{}' is there twice, or without a tensor", shown);
    if (file.size() - at < 8) user_error("it ends before the storage '{}': the file was cut short", shown);
    const std::string text = file.read_string(at, 8);
    std::uint64_t count = 0, bytes = 0;
    for (std::size_t i = 8; i-- > 0;) count = (count << 8) | static_cast<unsigned char>(text[i]);
    at += 8;
    if (__builtin_mul_overflow(count, storage->second.element_bytes, &bytes) ||
        bytes != storage->second.bytes)
      user_error("the storage '{}' has {} elements, by its pickle {} bytes", shown, count,
                 storage->second.bytes);
    if (bytes > file.size() - at)
      user_error("it ends inside the storage '{}': the file was cut short", shown);
    storage->second.offset = at;
    at += bytes;
  }
  if (met.size() != storages.size())
    user_error("{} of its {} storages are not in the file", storages.size() - met.size(), storages.size());
  if (at != file.size()) user_error("{} bytes follow its last storage", file.size() - at);
}

TorchContents read_legacy(const InputFile& file) {
  LegacyPickles pickles(file);
  pickles.next([](const Pickle& pickle) {
    const PickleValue& magic = pickle[pickle.root];
    if (magic.kind != PickleKind::big_integer || (magic.text != kMagic && magic.text != kDecimalMagic))
      user_error("it is a pickle, but none of torch.save");
  });
  pickles.next([](const Pickle& pickle) {
    if (pickle[pickle.root].kind != PickleKind::integer || pickle[pickle.root].integer != kLegacyProtocol)
      user_error("its format is another than {}", kLegacyProtocol);
  });
  pickles.next(check_system);
  return pickles.next([&](const Pickle& pickle) {
    Storages storages = named_storages(pickle);
    const std::vector<std::string> keys = pickles.next([](const Pickle& list) {
      std::vector<std::string> texts;
      for (const PickleId key : list[list.root].items) texts.emplace_back(list[key].text);
      return texts;
    });
    find_storages(file, pickles.at(), keys, storages);
    return TorchContents{find_tensors(pickle, storages, file.size()), {}};
  });
}

}  // namespace

TorchContainer torch_container(std::string_view begin) {
  if (begin.starts_with("PK\3\4") || begin.starts_with("PK\5\6")) return TorchContainer::zip;
  if (begin.size() > 2 && begin[0] == '\x80' && begin[1] >= 2 && begin[1] <= 5) return TorchContainer::legacy;
  return begin.starts_with("L1195470") ? TorchContainer::legacy : TorchContainer::none;
}

TorchContents read_torch_file(const InputFile& file, TorchContainer container) {
  return container == TorchContainer::zip ? read_zip(file) : read_legacy(file);
}

}  // namespace microdit::core::detail
