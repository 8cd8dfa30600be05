// index.json -> MdsIndex, every field checked.
#include "stream/mds_index.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <tuple>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/named_hash.h"

namespace microdit::stream {
namespace {

namespace fs = std::filesystem;
using core::Json;

[[noreturn]] void wrong(const std::string& where, const std::string& what) {
  core::user_error("{}: {}", where, what);
}

const Json& member(const Json& object, const char* key, const std::string& where) {
  if (!object.is_object() || !object.contains(key)) wrong(where, fmt::format("`{}` is missing", key));
  return object.at(key);
}

std::uint64_t whole(const Json& value, std::uint64_t most, const std::string& where, const char* key) {
  if (!value.is_number_integer() || (!value.is_number_unsigned() && value.get<std::int64_t>() < 0) ||
      value.get<std::uint64_t>() > most)
    wrong(where,
          fmt::format("`{}` is {}, not a whole number up to {}", key, value.dump().substr(0, 64), most));
  return value.get<std::uint64_t>();
}

std::string name(const Json& value, const std::string& where, const char* key) {
  if (!value.is_string()) wrong(where, fmt::format("`{}` is not a text", key));
  std::string text = value.get<std::string>();
  if (text.empty() || text.size() > MdsLimits::kNameBytes ||
      std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 32; }))
    wrong(where, fmt::format("`{}` is empty, longer than {} bytes or has control characters", key,
                             MdsLimits::kNameBytes));
  return text;
}

// A name stays below its folder.
std::string file_name(const Json& value, const std::string& where) {
  const std::string text = name(value, where, "basename");
  const fs::path path(text);
  bool inside = path.is_relative() && path.has_filename();
  for (const fs::path& part : path) inside = inside && part != ".." && part != ".";
  if (!inside) wrong(where, fmt::format("basename `{}` leaves the folder", text));
  return text;
}

bool is_hex(const std::string& text) {
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

MdsFile file(const Json& value, const std::string& where) {
  MdsFile file;
  file.name = file_name(member(value, "basename", where), where);
  file.bytes = whole(member(value, "bytes", where), MdsLimits::kShardBytes, where, "bytes");
  const Json& hashes = member(value, "hashes", where);
  if (!hashes.is_object() || hashes.size() > MdsLimits::kHashes)
    wrong(where, fmt::format("`hashes` is not an object of at most {}", MdsLimits::kHashes));
  for (const auto& [algorithm, hex] : hashes.items()) {
    if (!core::NamedHash::known(algorithm))
      wrong(where, fmt::format("hash `{}` is not known here", algorithm.substr(0, 64)));
    if (!hex.is_string() || !is_hex(hex.get<std::string>()))
      wrong(where, fmt::format("the value of hash `{}` is not lower-case hex", algorithm));
    file.hashes.emplace_back(algorithm, hex.get<std::string>());
  }
  return file;
}

MdsColumns columns_of(const Json& value, const std::string& where) {
  const Json& names = member(value, "column_names", where);
  const Json& encodings = member(value, "column_encodings", where);
  const Json& sizes = member(value, "column_sizes", where);
  if (!names.is_array() || !encodings.is_array() || !sizes.is_array() || names.size() != encodings.size() ||
      names.size() != sizes.size() || names.empty() || names.size() > MdsLimits::kColumns)
    wrong(where,
          fmt::format("`column_names`, `column_encodings` and `column_sizes` are not lists of one length, "
                      "1 to {}",
                      MdsLimits::kColumns));
  MdsColumns columns;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    MdsColumn column{
        name(names[i], where, "column_names"), name(encodings[i], where, "column_encodings"), {}};
    if (!seen.insert(column.name).second)
      wrong(where, fmt::format("column `{}` is named twice", column.name));
    if (column.encoding == "pkl" || column.encoding.starts_with("pkl:"))
      wrong(where,
            fmt::format("column `{}` is pickled (`pkl`): reading it would run code that the file brings, so "
                        "such folders are refused; write the folder again with another encoding",
                        column.name));
    if (!sizes[i].is_null()) {
      const std::uint64_t size = whole(sizes[i], MdsLimits::kSampleBytes, where, "column_sizes");
      if (size == 0) wrong(where, fmt::format("column `{}` has size 0", column.name));
      column.size = static_cast<std::uint32_t>(size);
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

std::size_t set_of(MdsIndex& index, MdsColumns columns) {
  const auto found = std::find(index.columns.begin(), index.columns.end(), columns);
  if (found != index.columns.end()) return static_cast<std::size_t>(found - index.columns.begin());
  index.columns.push_back(std::move(columns));
  return index.columns.size() - 1;
}

MdsShard shard_of_json(const Json& value, const std::string& folder, const std::string& where,
                       MdsIndex& index) {
  if (whole(member(value, "version", where), 1000, where, "version") != 2) wrong(where, "`version` is not 2");
  if (member(value, "format", where) != Json("mds"))
    wrong(where, fmt::format("`format` is {}, only `mds` is read", value.at("format").dump().substr(0, 64)));
  MdsShard shard;
  shard.columns = set_of(index, columns_of(value, where));
  shard.raw = file(member(value, "raw_data", where), where + ": raw_data");
  const Json& zipped = value.contains("zip_data") ? value.at("zip_data") : Json();
  if (!zipped.is_null()) shard.zipped = file(zipped, where + ": zip_data");
  if (value.contains("compression") && !value.at("compression").is_null())
    shard.compression = name(value.at("compression"), where, "compression");
  // The offset table must fit the file: bounds the number of samples before anything is allocated.
  shard.samples = static_cast<std::int64_t>(
      whole(member(value, "samples", where), shard.raw.bytes / 4, where, "samples"));
  if (shard.samples == 0) wrong(where, "`samples` is 0");
  for (MdsFile* one : {&shard.raw, shard.zipped ? &*shard.zipped : nullptr})
    if (one != nullptr && !folder.empty()) one->name = folder + "/" + one->name;
  return shard;
}

void add_index(const std::string& sub_folder, std::string_view text, MdsIndex& index) {
  const std::string where = (index.folder / sub_folder / "index.json").string();
  const Json json = core::parse_json(text, where);
  if (whole(member(json, "version", where), 1000, where, "version") != 2)
    wrong(where, fmt::format("MDS version {}, only 2 is read", json.at("version").dump()));
  const Json& shards = member(json, "shards", where);
  if (!shards.is_array()) wrong(where, "`shards` is not a list");
  if (index.shards.size() + shards.size() > MdsLimits::kShards)
    wrong(where, fmt::format("more than {} shards", MdsLimits::kShards));
  for (std::size_t i = 0; i < shards.size(); ++i) {
    MdsShard shard = shard_of_json(shards[i], sub_folder, fmt::format("{}: shard {}", where, i), index);
    shard.first = index.num_samples;
    index.num_samples += shard.samples;
    index.shards.push_back(std::move(shard));
  }
}

// Sub-folders that have an index of their own: numbers in their order, then names in theirs.
std::vector<std::string> indexed_folders(const fs::path& folder) {
  std::vector<std::tuple<bool, std::uint64_t, std::string>> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (!entry.is_directory() || !fs::is_regular_file(entry.path() / "index.json")) continue;
    const std::string text = entry.path().filename().string();
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool is_name = error != std::errc() || end != text.data() + text.size();
    found.emplace_back(is_name, is_name ? 0 : number, text);
    if (found.size() > MdsLimits::kFolders)
      wrong(folder.string(), fmt::format("more than {} sub-folders", MdsLimits::kFolders));
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> names;
  for (auto& [is_name, number, text] : found) names.push_back(std::move(text));
  return names;
}

// "SUB_FOLDER BYTES\n" and the text of its index.json, for each that there is.
std::string read_all(const fs::path& folder) {
  if (!fs::is_directory(folder)) wrong(folder.string(), "no such folder");
  const std::vector<std::string> folders =
      fs::exists(folder / "index.json") ? std::vector<std::string>{""} : indexed_folders(folder);
  if (folders.empty())
    wrong(folder.string(), "not an MDS folder: neither it nor one of its sub-folders has an index.json");
  std::string all;
  for (const std::string& sub_folder : folders) {
    const fs::path path = folder / sub_folder / "index.json";
    if (const std::uint64_t bytes = fs::file_size(path); all.size() + bytes > MdsLimits::kIndexBytes)
      wrong(path.string(), fmt::format("the folder's index has more than {} bytes", MdsLimits::kIndexBytes));
    const std::string text = core::read_text(path);
    all += fmt::format("{} {}\n", sub_folder, text.size()) + text;
  }
  return all;
}

void check_distinct(const MdsIndex& index) {
  std::set<std::string_view> seen;
  for (const MdsShard& shard : index.shards)
    if (!seen.insert(shard.raw.name).second)
      wrong((index.folder / "index.json").string(),
            fmt::format("`{}` is named by two shards", shard.raw.name));
}

}  // namespace

MdsColumns mds_columns(std::string_view json_text, const std::string& where) {
  return columns_of(core::parse_json(json_text, where), where);
}

const MdsShard& MdsIndex::shard_of(std::int64_t sample) const {
  const auto after = std::upper_bound(shards.begin(), shards.end(), sample,
                                      [](std::int64_t i, const MdsShard& shard) { return i < shard.first; });
  return *(after - 1);
}

MdsIndex read_mds_index(const fs::path& folder, const Once& once) {
  const std::string all = once([&] { return read_all(folder); });
  MdsIndex index;
  index.folder = folder;
  index.sha256 = core::sha256(std::as_bytes(std::span(all)));
  for (std::string_view left = all; !left.empty();) {
    const std::size_t end = left.find('\n'), space = left.rfind(' ', end);
    std::size_t bytes = 0;
    std::from_chars(left.data() + space + 1, left.data() + end, bytes);
    add_index(std::string(left.substr(0, space)), left.substr(end + 1, bytes), index);
    left.remove_prefix(end + 1 + bytes);
  }
  if (index.num_samples == 0) wrong(folder.string(), "its index.json names no sample");
  check_distinct(index);
  return index;
}

}  // namespace microdit::stream
