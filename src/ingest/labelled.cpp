// Raw pixels become lossless PNG, as all that follows takes encoded pictures.
#include "ingest/labelled.h"

#include "core/error.h"
#include "image/encode.h"

namespace microdit::ingest {
namespace {

constexpr std::string_view kPictures = "images-idx3", kLabels = "labels-idx1";

std::uint8_t byte_at(const Member& member, std::size_t at) {
  return static_cast<std::uint8_t>(member.bytes[at]);
}

/// The whole path without its last ending: two batches have never one.
std::string stem_of(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return std::string(path.substr(0, dot == path.npos || dot < path.rfind('/') + 1 ? path.size() : dot));
}

void demand_bytes(const Member& member) {
  if (!member.skip.empty()) core::user_error("{}: {}", member.name, member.skip);
}

RawRecord record_of(const std::string& file, std::int64_t index, const image::Image& picture,
                    std::int64_t label) {
  RawRecord record = numbered_record(file, index, image::encode_png(picture));
  record.cells["class"] = label;
  return record;
}

/// The head of an idx file: 0, 0, 8 (unsigned bytes), the number of its sizes, and these, big-endian.
std::vector<std::size_t> idx_sizes(const Member& file, std::size_t dimensions) {
  const std::size_t head = 4 + 4 * dimensions;
  const auto refuse = [&](const char* why) {
    core::user_error("{}: is no idx file of unsigned bytes in {} dimensions ({})", file.name, dimensions,
                     why);
  };
  if (file.bytes.size() < head) refuse("too short");
  if (byte_at(file, 0) != 0 || byte_at(file, 1) != 0 || byte_at(file, 2) != 8 ||
      byte_at(file, 3) != dimensions)
    refuse("another head");
  std::vector<std::size_t> sizes;
  std::size_t values = 1;
  for (std::size_t d = 0; d < dimensions; ++d) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) size = size << 8 | byte_at(file, 4 + 4 * d + i);
    if (size == 0 || size > file.bytes.size()) refuse("sizes beyond its bytes");
    values *= size;
    if (values > file.bytes.size()) refuse("sizes beyond its bytes");
    sizes.push_back(size);
  }
  if (file.bytes.size() != head + values) refuse("another number of bytes than its sizes say");
  return sizes;
}

}  // namespace

RawRecord numbered_record(const std::string& file, std::int64_t index, std::vector<std::byte>&& picture) {
  RawRecord record;
  record.key = fmt::format("{}/{:08}", stem_of(file), index);
  record.bytes = picture.size();
  record.members.emplace("picture", Member{.name = record.key, .bytes = std::move(picture), .skip = {}});
  return record;
}

void cifar_records(const Member& batch, const TakeRecord& take) {
  demand_bytes(batch);
  constexpr std::size_t kSide = 32, kPlane = kSide * kSide, kRecord = 1 + 3 * kPlane;
  if (batch.bytes.empty() || batch.bytes.size() % kRecord != 0)
    core::user_error("{}: {} bytes are no whole records of CIFAR's binary version ({} bytes each)",
                     batch.name, batch.bytes.size(), kRecord);
  for (std::size_t i = 0; i < batch.bytes.size() / kRecord; ++i) {
    const std::size_t begin = i * kRecord;
    image::Image picture(kSide, kSide);
    for (std::size_t p = 0; p < kPlane; ++p)
      for (std::size_t c = 0; c < 3; ++c)
        picture.pixels[3 * p + c] = byte_at(batch, begin + 1 + c * kPlane + p);
    take(record_of(batch.name, static_cast<std::int64_t>(i), picture, byte_at(batch, begin)));
  }
}

std::string idx_labels_of(const std::string& pictures) {
  const std::size_t at = pictures.find(kPictures);
  if (at == pictures.npos) return "";
  std::string labels = pictures;
  return labels.replace(at, kPictures.size(), kLabels);
}

void idx_records(const Member& pictures, const Member& labels, std::uint64_t most, const TakeRecord& take) {
  demand_bytes(pictures);
  demand_bytes(labels);
  const std::vector<std::size_t> sizes = idx_sizes(pictures, 3), count = idx_sizes(labels, 1);
  if (sizes[0] != count[0])
    core::user_error("{}: {} pictures, but {} has {} labels", pictures.name, sizes[0], labels.name, count[0]);
  if (sizes[0] > most)
    core::user_error("{}: {} pictures, but files of their size may hold {}: refused as hostile",
                     pictures.name, sizes[0], most);
  const std::size_t pixels = sizes[1] * sizes[2];
  for (std::size_t i = 0; i < sizes[0]; ++i) {
    image::Image picture(static_cast<std::int64_t>(sizes[1]), static_cast<std::int64_t>(sizes[2]));
    for (std::size_t p = 0; p < pixels; ++p)
      for (std::size_t c = 0; c < 3; ++c) picture.pixels[3 * p + c] = byte_at(pictures, 16 + i * pixels + p);
    take(record_of(pictures.name, static_cast<std::int64_t>(i), picture, byte_at(labels, 8 + i)));
  }
}

}  // namespace microdit::ingest
