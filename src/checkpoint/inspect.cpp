// Checks a checkpoint folder against its manifest, down to the bytes.
#include "checkpoint/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "checkpoint/checkpoint.h"
#include "checkpoint/shard.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/safetensors.h"

namespace microdit::checkpoint {
namespace {

/// Name and part of everything a file carries.
using FileParts = std::vector<std::pair<std::string, PartEntry>>;

std::string hash_part(const core::SafetensorsFile& file, const std::string& entry, std::uint64_t bytes) {
  constexpr std::uint64_t kPiece = std::uint64_t{8} << 20;
  std::vector<std::byte> piece(static_cast<std::size_t>(std::min(kPiece, bytes)));
  core::Xxh3 hash;
  for (std::uint64_t begin = 0; begin < bytes; begin += piece.size()) {
    piece.resize(static_cast<std::size_t>(std::min(kPiece, bytes - begin)));
    file.read_range(entry, begin, piece);
    hash.update(piece);
  }
  return core::hex(hash.digest());
}

/// Damage of one file: of its bytes, or missing. What the machine cannot read now (an errno) is no verdict on the
/// file and goes on as an exception.
void inspect_file(const std::filesystem::path& folder, const FileEntry& entry, const FileParts& parts,
                  Depth depth, std::vector<std::string>& damage) {
  const std::filesystem::path path = folder / entry.file;
  std::error_code error;
  const std::uint64_t bytes = std::filesystem::file_size(path, error);
  if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory)
    return damage.push_back(fmt::format("{}: missing", entry.file));
  if (error) core::errno_error(error.value(), "{}: cannot be read", path.string());
  if (bytes != entry.bytes) {
    return damage.push_back(
        fmt::format("{}: {} bytes, the manifest says {}", entry.file, bytes, entry.bytes));
  }
  const auto header = read_head(path, entry.header_bytes);
  if (!header) return damage.push_back(fmt::format("{}: missing", entry.file));
  try {
    if (core::hex(core::xxh3_64(std::as_bytes(std::span(header->data(), header->size())))) !=
        entry.header_xxh3) {
      return damage.push_back(fmt::format("{}: its header is damaged", entry.file));
    }
    const core::SafetensorsFile file(path);
    const std::size_t before = damage.size();
    for (const auto& [name, part] : parts) {
      const auto found = file.tensors().find(part_name(name, part.begin));
      if (found == file.tensors().end() ||
          found->second.bytes != static_cast<std::uint64_t>(part.count) * sizeof(float)) {
        damage.push_back(fmt::format("{}: tensor {} is not in it as the manifest says", entry.file, name));
      } else if (depth != Depth::structure &&
                 hash_part(file, found->first, found->second.bytes) != part.xxh3) {
        damage.push_back(fmt::format("{}: tensor {}, values [{}, {}): damaged", entry.file, name, part.begin,
                                     part.begin + part.count));
      }
    }
    if (depth == Depth::identity && damage.size() == before && core::sha256_file(path) != entry.sha256) {
      damage.push_back(fmt::format("{}: SHA-256 differs outside the tensors", entry.file));
    }
  } catch (const core::UserError& failure) {  // it breaks the format
    damage.push_back(fmt::format("{}: {}", entry.file, failure.what()));
  }
}

}  // namespace

Inspection inspect(const std::filesystem::path& folder, Depth depth) {
  Inspection result;
  const std::filesystem::path path = folder / kManifestName;
  const auto text = read_head(path, std::numeric_limits<std::uint64_t>::max());
  if (!text) {
    result.damage.push_back(fmt::format("{}: missing", kManifestName));
    return result;
  }
  try {
    result.manifest = manifest_from_text(*text, kManifestName);
  } catch (const core::UserError& error) {
    result.damage.push_back(error.what());
    return result;
  }
  const auto named = step_of(folder.filename().string());
  if (named && *named != result.manifest->step) {
    result.damage.push_back(fmt::format("{}: is of step {}, the folder's name says {}", kManifestName,
                                        result.manifest->step, *named));
  }
  std::map<std::string, FileParts> parts;
  for (const auto& [name, tensor] : result.manifest->tensors) {
    for (const PartEntry& part : tensor.parts) parts[part.file].emplace_back(name, part);
  }
  for (const FileEntry& file : result.manifest->files) {
    inspect_file(folder, file, parts[file.file], depth, result.damage);
    parts.erase(file.file);
  }
  for (const auto& [file, unused] : parts) {
    result.damage.push_back(fmt::format("{}: {} is not among its files", kManifestName, file));
  }
  return result;
}

std::vector<std::int64_t> list_steps(const std::filesystem::path& folder) {
  std::vector<std::int64_t> steps;
  if (!std::filesystem::exists(folder)) return steps;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto step = step_of(entry.path().filename().string());
    if (step && entry.is_directory()) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end(), std::greater<>());
  return steps;
}

}  // namespace microdit::checkpoint
