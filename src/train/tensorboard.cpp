// Encoding of TensorBoard events. Field numbers: tensorflow/core/util/event.proto and framework/summary.proto.
#include "train/tensorboard.h"

#include <array>
#include <chrono>
#include <cstring>

#include "core/error.h"

namespace microdit::train {
namespace {

std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}

template <class T>
std::string little_endian(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

std::string varint(std::uint64_t value) {
  std::string out;
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
  return out;
}

// Protobuf wire types: 0 varint, 1 fixed 64, 2 length-delimited, 5 fixed 32.
std::string key(int field, int wire) {
  return varint(static_cast<std::uint64_t>(field) << 3 | wire);
}
std::string number(int field, std::int64_t value) {
  return key(field, 0) + varint(static_cast<std::uint64_t>(value));
}
std::string bytes(int field, std::string_view value) {
  return key(field, 2) + varint(value.size()) + std::string(value);
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Event{1 wall_time, 2 step, 5 summary{1 value}}.
std::string event(std::int64_t step, const std::string& value) {
  return key(1, 1) + little_endian(now_s()) + number(2, step) + bytes(5, bytes(1, value));
}

/// A name that no other life of the run has taken: lives of one second and one first step exist.
std::filesystem::path new_event_file(const std::filesystem::path& folder, std::int64_t first_step) {
  std::filesystem::create_directories(folder);
  for (auto second = static_cast<std::int64_t>(now_s());; ++second) {
    auto path = folder / fmt::format("events.out.tfevents.{:010d}.microdit.{}", second, first_step);
    if (!std::filesystem::exists(path)) return path;
  }
}

}  // namespace

std::uint32_t masked_crc32c(std::string_view text) {
  static const auto table = crc_table();
  std::uint32_t crc = 0xffffffffu;
  for (const char c : text) crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ (crc >> 8);
  crc ^= 0xffffffffu;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

EventFile::EventFile(const std::filesystem::path& folder) : file_(new_event_file(folder, 0)) {
  record(key(1, 1) + little_endian(now_s()) + bytes(3, "brain.Event:2"));
}

EventFile::EventFile(const std::filesystem::path& folder, std::int64_t first_step)
    : file_(new_event_file(folder, first_step)) {
  record(key(1, 1) + little_endian(now_s()) + bytes(3, "brain.Event:2"));
  // Event{2 step, 7 session_log{1 status = START}}: steps from here on replace those of an earlier life.
  record(key(1, 1) + little_endian(now_s()) + number(2, first_step + 1) + bytes(7, number(1, 1)));
}

void EventFile::scalar(const std::string& tag, std::int64_t step, float value) {
  record(event(step, bytes(1, tag) + key(2, 5) + little_endian(value)));
}

void EventFile::picture(const std::string& tag, std::int64_t step, std::int64_t height, std::int64_t width,
                        std::span<const std::byte> png) {
  const std::string_view data(reinterpret_cast<const char*>(png.data()), png.size());
  const std::string image = number(1, height) + number(2, width) + number(3, 3) + bytes(4, data);
  record(event(step, bytes(1, tag) + bytes(4, image)));
}

void EventFile::record(const std::string& payload) {
  const std::string length = little_endian(static_cast<std::uint64_t>(payload.size()));
  file_.append(length + little_endian(masked_crc32c(length)) + payload +
               little_endian(masked_crc32c(payload)));
}

}  // namespace microdit::train
