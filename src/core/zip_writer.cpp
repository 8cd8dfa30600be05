// Local headers, data, the directory, its end.
#include "core/zip_writer.h"

#include <algorithm>

#include "core/crc32.h"

namespace microdit::core {
namespace {

constexpr std::uint64_t kIn64 = 0xffffffff;  ///< a 32-bit field that sends to the ZIP64 one
constexpr std::uint64_t kManyRecords = 0xffff;
constexpr std::uint64_t kAlignment = 64;
constexpr std::uint64_t kVersion20 = 20, kVersion45 = 45;

std::string number(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

}  // namespace

void ZipWriter::add(const std::string& name, std::span<const std::byte> bytes) {
  const std::uint32_t crc = crc32(bytes);
  const std::uint64_t size = bytes.size();
  const bool wide = size >= kIn64;
  std::string extra = wide ? number(1, 2) + number(16, 2) + number(size, 8) + number(size, 8) : std::string();
  // A field of our own pads: what a reader does not know it skips.
  const std::uint64_t begin = at_ + 30 + name.size() + extra.size() + 4;
  const std::uint64_t padding = (kAlignment - begin % kAlignment) % kAlignment;
  extra += number(0x4246, 2) + number(padding, 2) + std::string(padding, 'Z');
  const std::string sizes = number(wide ? kIn64 : size, 4) + number(wide ? kIn64 : size, 4);
  const std::string middle = number(0x800, 2) + number(0, 2) + number(0, 2) + number(0x21, 2) +
                             number(crc, 4) + sizes + number(name.size(), 2);
  const std::uint64_t version = wide || at_ >= kIn64 ? kVersion45 : kVersion20;
  std::string far = wide ? number(size, 8) + number(size, 8) : std::string();
  if (at_ >= kIn64) far += number(at_, 8);
  if (!far.empty()) far = number(1, 2) + number(far.size(), 2) + far;
  directory_ += "PK\1\2" + number(version, 2) + number(version, 2) + middle + number(far.size(), 2) +
                number(0, 2) + number(0, 2) + number(0, 2) + number(0, 4) + number(std::min(at_, kIn64), 4) +
                name + far;
  ++records_;
  write("PK\3\4" + number(version, 2) + middle + number(extra.size(), 2) + name + extra);
  out_.write(bytes);
  at_ += size;
}

void ZipWriter::publish() {
  const std::uint64_t begin = at_, size = directory_.size();
  write(directory_);
  const std::uint64_t end64 = at_;
  if (records_ >= kManyRecords || begin >= kIn64 || size >= kIn64) {
    write("PK\6\6" + number(44, 8) + number(kVersion45, 2) + number(kVersion45, 2) + number(0, 4) +
          number(0, 4) + number(records_, 8) + number(records_, 8) + number(size, 8) + number(begin, 8));
    write("PK\6\7" + number(0, 4) + number(end64, 8) + number(1, 4));
  }
  const std::string count = number(std::min(records_, kManyRecords), 2);
  write("PK\5\6" + number(0, 4) + count + count + number(std::min(size, kIn64), 4) +
        number(std::min(begin, kIn64), 4) + number(0, 2));
  out_.publish();
}

void ZipWriter::write(const std::string& text) {
  out_.write(std::as_bytes(std::span(text)));
  at_ += text.size();
}

}  // namespace microdit::core
