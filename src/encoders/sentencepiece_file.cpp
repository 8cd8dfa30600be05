// A reader of protobuf's wire format for the few fields that count; everything else is skipped.
#include "encoders/sentencepiece_file.h"

#include <bit>
#include <cstring>

#include "core/error.h"
#include "encoders/tokenizer_limits.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

enum class Wire : std::uint8_t { kVarint = 0, k64 = 1, kBytes = 2, k32 = 5 };

// Numbers of fields and kinds in sentencepiece_model.proto.
enum ModelField : std::uint64_t { kPieces = 1, kTrainer = 2, kNormalizer = 3 };
enum PieceField : std::uint64_t { kPiece = 1, kScore = 2, kType = 3 };
enum TrainerField : std::uint64_t { kModelType = 3, kByteFallback = 35, kUnknownId = 40 };
enum NormalizerField : std::uint64_t { kCharsmap = 2 };
enum PieceType : std::uint64_t { kControl = 3, kUserDefined = 4 };
constexpr std::uint64_t kUnigram = 1;

struct Field {
  std::uint64_t number = 0;
  Wire wire = Wire::kVarint;
  std::uint64_t value = 0;   ///< of a varint or of fixed bits
  std::string_view bytes{};  ///< of a length-delimited field
};

/// The fields of one message, in order.
class Message {
 public:
  Message(std::string_view bytes, std::string_view file, const fs::path& path)
      : bytes_(bytes), file_(file), path_(path) {}

  bool next(Field& field) {
    if (at_ == bytes_.size()) return false;
    const std::uint64_t key = varint();
    field = {key >> 3, static_cast<Wire>(key & 7)};
    switch (field.wire) {
      case Wire::kVarint:
        field.value = varint();
        break;
      case Wire::kBytes:
        field.bytes = take(varint());
        break;
      case Wire::k32:
      case Wire::k64: {
        const std::string_view bits = take(field.wire == Wire::k32 ? 4 : 8);
        std::memcpy(&field.value, bits.data(), bits.size());
        break;
      }
      default:
        fail("an unknown wire type");
    }
    return true;
  }

  Message inside(const Field& field) const {
    if (field.wire != Wire::kBytes) fail("a message expected");
    return {field.bytes, file_, path_};
  }
  std::uint64_t integer(const Field& field) const {
    if (field.wire != Wire::kVarint) fail("an integer expected");
    return field.value;
  }
  float real(const Field& field) const {
    if (field.wire != Wire::k32) fail("a float expected");
    return std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
  }
  std::string text(const Field& field) const {
    if (field.wire != Wire::kBytes) fail("a text expected");
    return std::string(field.bytes);
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("an integer of more than ten bytes");
  }
  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - at_) fail("the message ends too early");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  [[noreturn]] void fail(const char* what) const {
    core::user_error("{}: not a sentencepiece model: {} at byte {}; fetch the file again", path_.string(),
                     what, static_cast<std::size_t>(bytes_.data() - file_.data()) + at_);
  }

  std::string_view bytes_, file_;
  const fs::path& path_;
  std::size_t at_ = 0;
};

void add_piece(Message message, UnigramVocabulary& out) {
  std::string piece;
  float score = 0;
  std::uint64_t type = 1;
  for (Field field; message.next(field);) {
    if (field.number == kPiece) piece = message.text(field);
    if (field.number == kScore) score = message.real(field);
    if (field.number == kType) type = message.integer(field);
  }
  if (type == kControl || type == kUserDefined) out.controls.push_back(piece);
  out.pieces.emplace_back(std::move(piece), score);
}

void read_trainer(Message message, const fs::path& path, UnigramVocabulary& out) {
  for (Field field; message.next(field);) {
    if (field.number == kModelType && message.integer(field) != kUnigram)
      core::user_error("{}: model_type is {}; only unigram models (1), T5's, are read", path.string(),
                       field.value);
    if (field.number == kByteFallback && message.integer(field) != 0)
      core::user_error("{}: byte_fallback is on; T5's models have none", path.string());
    if (field.number == kUnknownId)
      out.unknown = static_cast<std::int32_t>(message.integer(field) & 0x7FFFFFFF);
  }
}

}  // namespace

UnigramVocabulary parse_sentencepiece(std::string_view bytes, const fs::path& path) {
  UnigramVocabulary out;
  out.origin = path.string();
  Message model(bytes, bytes, path);
  for (Field field; model.next(field);) {
    if (field.number == kPieces) {
      if (out.pieces.size() == kMostPieces)
        core::user_error("{}: more than {} pieces", path.string(), kMostPieces);
      add_piece(model.inside(field), out);
    }
    if (field.number == kTrainer) read_trainer(model.inside(field), path, out);
    if (field.number == kNormalizer) {
      Message normalizer = model.inside(field);
      for (Field inner; normalizer.next(inner);)
        if (inner.number == kCharsmap) out.charsmap = normalizer.text(inner);
    }
  }
  return out;
}

}  // namespace microdit::encoders
