// Records are checked against their checksums; an array's header is read by its grammar, nothing of it is executed.
#include "score/npz.h"

#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "core/error.h"
#include "core/utf8.h"
#include "core/zip_writer.h"
#include "score/limits.h"
#include "score/zip_record.h"

namespace microdit::score {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "\x93NUMPY";

[[noreturn]] void bad(const core::InputFile& file, const std::string& name, const std::string& what) {
  core::user_error("{}: array '{}': {}; make or copy the file again", file.path().string(),
                   core::shortened(core::with_valid_utf8(name), 100), what);
}

/// What stands between numpy's braces, as far as it may.
struct Header {
  std::string descr;
  bool fortran = false;
  std::vector<std::int64_t> shape;
};

/// The header's dict literal: three keys in any order, each once.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : rest_(text) {}

  Header parse() {
    Header header;
    unsigned seen = 0;
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      const unsigned bit = key == "descr" ? 1 : key == "fortran_order" ? 2 : key == "shape" ? 4 : 0;
      if (bit == 0 || (seen & bit) != 0) fail();
      seen |= bit;
      if (bit == 1) header.descr = quoted();
      if (bit == 2) header.fortran = boolean();
      if (bit == 4) header.shape = tuple();
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip();
    if (seen != 7 || !rest_.empty()) fail();
    return header;
  }

 private:
  [[noreturn]] static void fail() { core::user_error("{}", "its header is none that numpy writes"); }
  void skip() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\n')) rest_.remove_prefix(1);
  }
  bool take(char c) {
    skip();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail();
  }
  std::string quoted() {
    skip();
    if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"')) fail();
    const std::size_t end = rest_.find(rest_.front(), 1);
    if (end == rest_.npos) fail();
    std::string text(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return text;
  }
  bool boolean() {
    skip();
    for (const std::string_view word : {"True", "False"}) {
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return word == "True";
    }
    fail();
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> shape;
    expect('(');
    while (!take(')')) {
      skip();
      std::int64_t side = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), side);
      if (error != std::errc() || side < 0 || shape.size() == 32) fail();
      shape.push_back(side);
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }
  std::string_view rest_;
};

/// Elements of a shape; UserError when that is more than `most`.
std::uint64_t count_of(const std::vector<std::int64_t>& shape, std::uint64_t most) {
  std::uint64_t count = 1;
  for (const std::int64_t side : shape) {
    if (side != 0 && count > most / static_cast<std::uint64_t>(side))
      core::user_error("{}", "its shape asks for too much");
    count *= static_cast<std::uint64_t>(side);
  }
  return count;
}

template <class T>
void widen(const std::string& bytes, std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = static_cast<double>(value);
  }
}

/// A column-major matrix in row-major order.
void turn(Array& array) {
  if (array.shape.size() < 2) return;
  if (array.shape.size() > 2) core::user_error("{}", "it is column-major with more than two axes");
  const auto rows = static_cast<std::size_t>(array.shape[0]),
             columns = static_cast<std::size_t>(array.shape[1]);
  std::vector<double> turned(array.values.size());
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t column = 0; column < columns; ++column)
      turned[row * columns + column] = array.values[column * rows + row];
  array.values = std::move(turned);
}

std::vector<std::byte> npy(const std::string& descr, const std::vector<std::int64_t>& shape, const void* data,
                           std::size_t bytes) {
  std::string sides;
  for (const std::int64_t side : shape) sides += fmt::format("{}{}", sides.empty() ? "" : ", ", side);
  if (shape.size() == 1) sides += ",";
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, sides);
  constexpr std::size_t kBefore = kMagic.size() + 4;
  header.resize((kBefore + header.size() + 1 + 63) / 64 * 64 - kBefore - 1, ' ');
  header += '\n';
  std::string text = std::string(kMagic) + std::string("\x01\x00", 2);
  text += static_cast<char>(header.size() & 0xff);
  text += static_cast<char>(header.size() >> 8);
  text += header;
  std::vector<std::byte> out(text.size() + bytes);
  std::memcpy(out.data(), text.data(), text.size());
  if (bytes > 0) std::memcpy(out.data() + text.size(), data, bytes);
  return out;
}

}  // namespace

struct NpzFile::Npy {
  Header header;
  std::string data;
};

NpzFile::NpzFile(const std::filesystem::path& path) : file_(path) {
  try {
    records_ = core::read_zip_directory(file_);
  } catch (const core::UserError& wrong) {
    core::user_error("{}: no .npz of numpy: {}", path.string(), wrong.what());
  }
}

bool NpzFile::has(const std::string& name) const {
  return records_.contains(name + ".npy");
}

NpzFile::Npy NpzFile::read(const std::string& name) const {
  const auto found = records_.find(name + ".npy");
  if (found == records_.end()) bad(file_, name, "it is not there");
  const core::ZipRecord& record = found->second;
  try {
    const std::string bytes = read_record(file_, record, Limits::array_bytes);
    if (!bytes.starts_with(kMagic) || bytes.size() < 12) core::user_error("{}", "it is no .npy");
    const int version = bytes[6];
    if (version < 1 || version > 3) core::user_error("it is of version {}", version);
    const std::size_t begin = version == 1 ? 10 : 12;
    std::size_t length = 0;
    for (std::size_t i = begin; i-- > 8;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
    if (length > Limits::npy_header_bytes || length > bytes.size() - begin)
      core::user_error("its header claims {} bytes", length);
    Npy result{HeaderParser(std::string_view(bytes).substr(begin, length)).parse(), {}};
    result.data = bytes.substr(begin + length);
    return result;
  } catch (const core::UserError& wrong) {
    bad(file_, name, wrong.what());
  }
}

Array NpzFile::array(const std::string& name) const {
  const Npy found = read(name);
  try {
    static constexpr std::array<std::pair<std::string_view, std::size_t>, 4> kTypes = {
        {{"<f8", 8}, {"<f4", 4}, {"<i8", 8}, {"<i4", 4}}};
    const auto type = std::find_if(kTypes.begin(), kTypes.end(),
                                   [&](const auto& one) { return one.first == found.header.descr; });
    if (type == kTypes.end())
      core::user_error("it is of type {}; float64, float32, int64 and int32 are read",
                       core::shortened(core::with_valid_utf8(found.header.descr), 40));
    const std::uint64_t count = count_of(found.header.shape, Limits::array_bytes / type->second);
    if (count * type->second != found.data.size())
      core::user_error("its shape needs {} bytes, {} are there", count * type->second, found.data.size());
    Array array{found.header.shape, std::vector<double>(count)};
    if (type->first == "<f8") widen<double>(found.data, array.values);
    if (type->first == "<f4") widen<float>(found.data, array.values);
    if (type->first == "<i8") widen<std::int64_t>(found.data, array.values);
    if (type->first == "<i4") widen<std::int32_t>(found.data, array.values);
    if (found.header.fortran) turn(array);
    return array;
  } catch (const core::UserError& wrong) {
    bad(file_, name, wrong.what());
  }
}

std::int64_t NpzFile::integer(const std::string& name) const {
  const Npy found = read(name);
  if (found.header.descr != "<i8" || !found.header.shape.empty() || found.data.size() != sizeof(std::int64_t))
    bad(file_, name, "it is no whole number (int64)");
  std::int64_t value;
  std::memcpy(&value, found.data.data(), sizeof value);
  return value;
}

std::string NpzFile::text(const std::string& name) const {
  const Npy found = read(name);
  if (found.header.descr != fmt::format("|S{}", found.data.size()) || !found.header.shape.empty() ||
      found.data.size() > Limits::text_bytes)
    bad(file_, name, "it is no text of bytes (|S)");
  return found.data;
}

void NpzContents::add(const std::string& name, const Array& array) {
  npys_[name] = npy("<f8", array.shape, array.values.data(), array.values.size() * sizeof(double));
}
void NpzContents::add(const std::string& name, std::int64_t value) {
  npys_[name] = npy("<i8", {}, &value, sizeof value);
}
void NpzContents::add(const std::string& name, const std::string& text) {
  npys_[name] = npy(fmt::format("|S{}", text.size()), {}, text.data(), text.size());
}

void NpzContents::write(const std::filesystem::path& path) const {
  core::ZipWriter zip(path);
  for (const auto& [name, bytes] : npys_) zip.add(name + ".npy", bytes);
  zip.publish();
}

}  // namespace microdit::score
