// The manifest's text form, its checksum, and the rule that every value is stored exactly once.
#include "checkpoint/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <span>

#include "core/error.h"
#include "core/hash.h"

namespace microdit::checkpoint {
namespace {

using core::Json;

constexpr const char* kFormat = "microdit checkpoint 1";

Json files_to_json(const std::vector<FileEntry>& files) {
  Json list = Json::array();
  for (const FileEntry& file : files) {
    list.push_back({{"file", file.file},
                    {"bytes", file.bytes},
                    {"header_bytes", file.header_bytes},
                    {"header_xxh3", file.header_xxh3},
                    {"sha256", file.sha256}});
  }
  return list;
}

Json tensors_to_json(const std::map<std::string, TensorEntry>& tensors) {
  Json object = Json::object();
  for (const auto& [name, tensor] : tensors) {
    Json parts = Json::array();
    for (const PartEntry& part : tensor.parts) {
      parts.push_back(
          {{"file", part.file}, {"begin", part.begin}, {"count", part.count}, {"xxh3", part.xxh3}});
    }
    object[name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"parts", std::move(parts)}};
  }
  return object;
}

void read_files(const Json& list, std::vector<FileEntry>& files) {
  for (const Json& item : list) {
    FileEntry file;
    item.at("file").get_to(file.file);
    item.at("bytes").get_to(file.bytes);
    item.at("header_bytes").get_to(file.header_bytes);
    item.at("header_xxh3").get_to(file.header_xxh3);
    item.at("sha256").get_to(file.sha256);
    // The name is used below the checkpoint's folder only.
    if (file.file.find('/') != std::string::npos)
      core::user_error("file name \"{}\" is not a plain name", file.file);
    files.push_back(std::move(file));
  }
}

void read_tensors(const Json& object, std::map<std::string, TensorEntry>& tensors) {
  for (const auto& [name, item] : object.items()) {
    const auto shape = item.at("shape").get<std::vector<std::int64_t>>();
    auto [entry, added] = tensors.try_emplace(name, TensorEntry{shape, {}});
    if (!added && entry->second.shape != shape) {
      core::system_error("tensor {} has shape [{}] in one shard and [{}] in another", name,
                         fmt::join(entry->second.shape, ", "), fmt::join(shape, ", "));
    }
    for (const Json& part : item.at("parts")) {
      entry->second.parts.push_back({part.at("file"), part.at("begin"), part.at("count"), part.at("xxh3")});
    }
  }
}

std::string checksum_of(std::string_view body) {
  return core::sha256(std::as_bytes(std::span(body.data(), body.size())));
}

/// What follows the hashed bytes.
std::string checksum_tail(std::string_view body) {
  return fmt::format(",\n  \"checksum\": \"{}\"\n}}\n", checksum_of(body));
}

}  // namespace

std::string shard_to_text(const FileEntry& file, const std::map<std::string, TensorEntry>& tensors) {
  return Json{{"files", files_to_json({file})}, {"tensors", tensors_to_json(tensors)}}.dump();
}

void add_shard(Manifest& manifest, const std::string& shard_text) {
  const Json shard = core::parse_json(shard_text, "a rank's shard description");
  read_files(shard.at("files"), manifest.files);
  read_tensors(shard.at("tensors"), manifest.tensors);
}

std::string sort_and_check_coverage(Manifest& manifest) {
  for (auto& [name, tensor] : manifest.tensors) {
    std::sort(tensor.parts.begin(), tensor.parts.end(),
              [](const PartEntry& a, const PartEntry& b) { return a.begin < b.begin; });
    const std::int64_t total = count_of(tensor.shape);
    if (total < 0)
      return fmt::format("tensor {}: impossible shape [{}]", name, fmt::join(tensor.shape, ", "));
    std::int64_t covered = 0;
    for (const PartEntry& part : tensor.parts) {
      if (part.begin != covered || part.count <= 0 || part.count > total - covered) {
        return fmt::format("tensor {}: values from {} on are stored {}, in {}", name,
                           std::min(covered, part.begin),
                           part.begin > covered ? "nowhere" : "twice or beyond its end", part.file);
      }
      covered += part.count;
    }
    if (covered != total)
      return fmt::format("tensor {}: only {} of {} values are stored", name, covered, total);
  }
  return {};
}

std::string manifest_to_text(const Manifest& manifest) {
  const Json json = {{"format", kFormat},
                     {"step", manifest.step},
                     {"state", manifest.state},
                     {"files", files_to_json(manifest.files)},
                     {"tensors", tensors_to_json(manifest.tensors)}};
  std::string text = json.dump(2);
  text.resize(text.size() - 2);  // "\n}" comes again after the checksum
  return text + checksum_tail(text);
}

Manifest manifest_from_text(const std::string& text, const std::string& origin) {
  const std::size_t tail_bytes = checksum_tail("").size();
  if (text.size() <= tail_bytes ||
      text.substr(text.size() - tail_bytes) !=
          checksum_tail(std::string_view(text).substr(0, text.size() - tail_bytes))) {
    core::user_error("{}: damaged: its checksum does not match its contents", origin);
  }
  const Json json = core::parse_json(text, origin);
  Manifest manifest;
  try {
    if (json.at("format") != kFormat)
      core::user_error("format {} is not \"{}\"", json.at("format").dump(), kFormat);
    json.at("step").get_to(manifest.step);
    manifest.state = json.at("state");
    read_files(json.at("files"), manifest.files);
    read_tensors(json.at("tensors"), manifest.tensors);
  } catch (const std::exception& error) {
    core::user_error("{}: {}", origin, error.what());
  }
  const std::string uncovered = sort_and_check_coverage(manifest);
  if (!uncovered.empty()) core::user_error("{}: {}", origin, uncovered);
  return manifest;
}

std::string part_name(const std::string& name, std::int64_t begin) {
  return fmt::format("{}@{}", name, begin);
}

std::int64_t count_of(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return -1;
    if (extent > 0 && count > std::numeric_limits<std::int64_t>::max() / 4 / extent) return -1;
    count *= extent;
  }
  return count;
}

}  // namespace microdit::checkpoint
