// Reader, and the walk back to the newest checkpoint that verifies.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "checkpoint/checkpoint.h"
#include "checkpoint/inspect.h"
#include "checkpoint/manifest.h"
#include "core/error.h"
#include "core/log.h"
#include "core/safetensors.h"

namespace microdit::checkpoint {
namespace {

namespace fs = std::filesystem;

std::string summary(const std::vector<std::string>& damage) {
  return damage.size() == 1 ? damage.front()
                            : fmt::format("{} (and {} more)", damage.front(), damage.size() - 1);
}

}  // namespace

struct Reader::Impl {
  fs::path folder;
  Manifest manifest;
  std::map<std::string, std::vector<std::int64_t>> shapes;
  std::map<std::string, core::SafetensorsFile> files;
};

Reader::Reader(fs::path folder, bool check_payload)
    : Reader(folder, inspect(folder, check_payload ? Depth::payload : Depth::structure)) {}

Reader::Reader(fs::path folder, Inspection found) : impl_(std::make_unique<Impl>()) {
  if (!found.damage.empty()) {
    core::user_error("checkpoint {}: {}; use another one, or restore this folder from a copy",
                     folder.string(), summary(found.damage));
  }
  impl_->folder = std::move(folder);
  impl_->manifest = std::move(*found.manifest);
  for (const FileEntry& file : impl_->manifest.files)
    impl_->files.try_emplace(file.file, impl_->folder / file.file);
  for (const auto& [name, tensor] : impl_->manifest.tensors) impl_->shapes.emplace(name, tensor.shape);
}

Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

const fs::path& Reader::folder() const {
  return impl_->folder;
}
std::int64_t Reader::step() const {
  return impl_->manifest.step;
}
const core::Json& Reader::state() const {
  return impl_->manifest.state;
}
const std::map<std::string, std::vector<std::int64_t>>& Reader::tensors() const {
  return impl_->shapes;
}

void Reader::read(const std::string& name, std::int64_t begin, std::span<float> out) const {
  const auto found = impl_->manifest.tensors.find(name);
  if (found == impl_->manifest.tensors.end()) {
    core::user_error("checkpoint {}: tensor {} is not in it; was it written by another model?",
                     impl_->folder.string(), name);
  }
  const TensorEntry& tensor = found->second;
  const auto end = begin + static_cast<std::int64_t>(out.size());
  core::check(begin >= 0 && end <= count_of(tensor.shape), "values [{}, {}) of {} with {} values", begin, end,
              name, count_of(tensor.shape));
  // The first part that ends after `begin`.
  auto part = std::partition_point(tensor.parts.begin(), tensor.parts.end(),
                                   [&](const PartEntry& p) { return p.begin + p.count <= begin; });
  for (std::int64_t at = begin; at < end; ++part) {
    const std::int64_t count = std::min(end, part->begin + part->count) - at;
    const auto piece = out.subspan(static_cast<std::size_t>(at - begin), static_cast<std::size_t>(count));
    impl_->files.at(part->file)
        .read_range(part_name(name, part->begin),
                    static_cast<std::uint64_t>(at - part->begin) * sizeof(float),
                    std::as_writable_bytes(piece));
    at += count;
  }
}

std::optional<Reader> open_latest(const fs::path& folder, bool check_payload) {
  std::vector<std::string> skipped;
  for (const std::int64_t step : list_steps(folder)) {
    const fs::path path = folder / step_name(step);
    try {
      Inspection found = inspect(path, check_payload ? Depth::payload : Depth::structure);
      if (found.damage.empty()) return Reader(path, std::move(found));
      skipped.push_back(fmt::format("{}: {}", path.string(), summary(found.damage)));
    } catch (const std::exception&) {
      if (fs::exists(path)) throw;
    }
    // Retention of a running job may have taken it since it was listed: then there are newer ones.
    if (!fs::exists(path)) return open_latest(folder, check_payload);
    core::log_warn("skipped: {}", skipped.back());
  }
  if (skipped.empty()) return std::nullopt;
  core::user_error(
      "{}: none of its {} checkpoints verifies (newest: {}); restore one from a copy, or start a run of "
      "another "
      "name (name=...)",
      folder.string(), skipped.size(), skipped.front());
}

std::optional<Reader> open_latest(const fs::path& folder, comm::Communicator& comm) {
  std::optional<Reader> reader;
  const std::string choice = comm.on_root([&] {
    reader = open_latest(folder, true);
    return reader ? reader->folder().filename().string() : std::string();
  });
  if (comm.rank() != 0 && !choice.empty()) reader.emplace(folder / choice, false);
  // Nobody leaves before all have it open: retention cannot take it away from a slower rank.
  comm.barrier();
  return reader;
}

Reader open(const fs::path& checkpoint, comm::Communicator& comm) {
  std::optional<Reader> reader;
  comm.on_root([&] { reader.emplace(checkpoint, true); });
  if (!reader) reader.emplace(checkpoint, false);
  comm.barrier();
  return std::move(*reader);
}

std::vector<std::string> verify(const fs::path& checkpoint) {
  return inspect(checkpoint, Depth::identity).damage;
}

std::string step_name(std::int64_t step) {
  return fmt::format("step_{:07d}", step);
}

std::optional<std::int64_t> step_of(const std::string& name) {
  constexpr std::string_view kPrefix = "step_";
  std::int64_t step = 0;
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (error != std::errc() || stop != end || step < 0 || step_name(step) != name) return std::nullopt;
  return step;
}

}  // namespace microdit::checkpoint
