// Raw pixels become lossless PNG, as all that follows takes encoded pictures.
#include "ingest/labelled.h"

#include "core/error.h"
#include "image/encode.h"
#include "tables/parquet_rows.h"

namespace microdit::ingest {
namespace {

constexpr std::string_view kPictures = "images-idx3", kLabels = "labels-idx1";

std::uint8_t byte_at(const Member& member, std::size_t at) {
  return static_cast<std::uint8_t>(member.bytes[at]);
}

std::string stem_of(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return std::string(name.substr(0, name.find('.')));
}

/// Keys sort as their numbers do.
RawRecord record_of(const std::string& stem, std::int64_t index, std::vector<std::byte>&& picture,
                    tables::Value label) {
  RawRecord record;
  record.key = fmt::format("{}/{:08}", stem, index);
  record.bytes = picture.size();
  record.members.emplace("picture", Member{.name = record.key, .bytes = std::move(picture), .skip = {}});
  if (!tables::is_null(label)) record.cells["class"] = std::move(label);
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

void cifar_records(const Member& batch, const TakeRecord& take) {
  constexpr std::size_t kSide = 32, kPlane = kSide * kSide, kRecord = 1 + 3 * kPlane;
  if (batch.bytes.empty() || batch.bytes.size() % kRecord != 0)
    core::user_error("{}: {} bytes are no whole records of CIFAR's binary version ({} bytes each)",
                     batch.name, batch.bytes.size(), kRecord);
  const std::string stem = stem_of(batch.name);
  for (std::size_t i = 0; i < batch.bytes.size() / kRecord; ++i) {
    const std::size_t begin = i * kRecord;
    image::Image picture(kSide, kSide);
    for (std::size_t p = 0; p < kPlane; ++p)
      for (std::size_t c = 0; c < 3; ++c)
        picture.pixels[3 * p + c] = byte_at(batch, begin + 1 + c * kPlane + p);
    take(record_of(stem, static_cast<std::int64_t>(i), image::encode_png(picture),
                   std::int64_t{byte_at(batch, begin)}));
  }
}

std::string idx_labels_of(const std::string& pictures) {
  const std::size_t at = pictures.find(kPictures);
  if (at == pictures.npos) return "";
  std::string labels = pictures;
  return labels.replace(at, kPictures.size(), kLabels);
}

void idx_records(const Member& pictures, const Member& labels, const TakeRecord& take) {
  const std::vector<std::size_t> sizes = idx_sizes(pictures, 3), count = idx_sizes(labels, 1);
  if (sizes[0] != count[0])
    core::user_error("{}: {} pictures, but {} has {} labels", pictures.name, sizes[0], labels.name, count[0]);
  const std::string stem = stem_of(pictures.name);
  const std::size_t pixels = sizes[1] * sizes[2];
  for (std::size_t i = 0; i < sizes[0]; ++i) {
    image::Image picture(static_cast<std::int64_t>(sizes[1]), static_cast<std::int64_t>(sizes[2]));
    for (std::size_t p = 0; p < pixels; ++p)
      for (std::size_t c = 0; c < 3; ++c) picture.pixels[3 * p + c] = byte_at(pictures, 16 + i * pixels + p);
    take(record_of(stem, static_cast<std::int64_t>(i), image::encode_png(picture),
                   std::int64_t{byte_at(labels, 8 + i)}));
  }
}

void parquet_records(const std::filesystem::path& file, const RecordSection& record, const TakeRecord& take,
                     const core::StopFlag& stop) {
  tables::RowRequest request{file.filename().string(), {record.picture}};
  if (!record.label.empty()) request.columns.push_back(record.label);
  const std::string stem = stem_of(file.filename().string());
  std::int64_t index = 0;
  tables::read_parquet_rows(
      file, request,
      [&](std::span<const tables::Value> row) {
        std::vector<std::byte> bytes;
        if (const auto* text = std::get_if<std::string>(&row[0])) {
          const auto raw = std::as_bytes(std::span(*text));
          bytes.assign(raw.begin(), raw.end());
        }
        take(record_of(stem, index++, std::move(bytes), row.size() > 1 ? row[1] : tables::Value()));
      },
      stop);
}

}  // namespace microdit::ingest
