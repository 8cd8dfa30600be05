// What a stage and its workers say to each other, over one socket: fixed structs, then the bytes they announce.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <string>

#include "image/decode.h"
#include "ingest/limits.h"

namespace microdit::ingest {

/// To a worker of pictures: the picture's bytes lie at the beginning of the shared file.
struct PictureRequest {
  std::uint64_t shared_bytes = 0;  ///< size of the shared file now
  std::uint64_t bytes = 0;         ///< of the picture
  std::uint64_t out = 0;           ///< where the squares go, packed one behind the other
  std::int64_t min_side = 0;
  std::int64_t num_sizes = 0;
  std::array<std::int64_t, limits::kPictureSizes> sizes{};
  bool enlarge = false;
  bool drop_damaged_inside = true;
  bool drop_several_frames = false;
  bool drop_alpha = false, drop_palette = false, drop_deep = false;
  int cpu_seconds = limits::kPictureSeconds;
  image::DecodeRules rules;
};

struct PictureReply {
  std::array<char, 32> reason{};
  std::array<char, 160> detail{};
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::array<bool, limits::kPictureSizes> made{};
  double decode_s = 0, resize_s = 0;
};

/// From a worker of archives: one for each member, followed by name, reason and bytes; the last one by a text.
struct MemberHeader {
  enum class Kind : std::uint32_t { member, done, user_error, fault, system_error } kind = Kind::member;
  std::uint32_t name_bytes = 0;
  std::uint32_t skip_bytes = 0;
  std::uint32_t more = 0;  ///< another piece of the member follows
  std::uint64_t bytes = 0;
  std::int64_t offset = -1;
  std::int64_t members = 0;  ///< with done: the summary; the name is its example
  std::int64_t passed_over = 0;
};

/// A worker's first argument: programs of different builds find out that they would not understand each other. The number
/// changes with the meaning of a message.
inline std::string worker_protocol() {
  return fmt::format("microdit-messages-3.{}.{}.{}", sizeof(PictureRequest), sizeof(PictureReply),
                     sizeof(MemberHeader));
}
constexpr int kOtherProtocol = 5;  ///< exit code of a worker that speaks another

}  // namespace microdit::ingest
