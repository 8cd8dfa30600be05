// Tokenizer files that are damaged or made to harm: refused with a reason, in bounded time and memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <cstring>
#include <ctime>
#include <functional>
#include <limits>
#include <random>

#include "core/atomic_file.h"
#include "core/error.h"
#include "encoders/temporary_folder.h"
#include "encoders/tokenizer.h"
#include "encoders/tokenizer_goldens.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;
using core::Json;
using testing::HasSubstr;

constexpr const char* kGz = "bpe_simple_vocab_16e6.txt.gz";

std::string gzipped(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
  std::string out(compressBound(text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// Protobuf's wire format.
std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string bytes_field(unsigned number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string piece(const std::string& text, float score, unsigned type = 1) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return bytes_field(1, bytes_field(1, text) + varint(2 << 3 | 5) + bits + varint(3 << 3) + varint(type));
}
const std::string& specials() {
  static const std::string bytes = piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2);
  return bytes;
}
std::string with_charsmap(const std::string& charsmap) {
  return specials() + piece("a", -1) + bytes_field(3, bytes_field(2, charsmap));
}
std::string charsmap(std::uint32_t trie_bytes, const std::vector<std::uint32_t>& units,
                     const std::string& texts) {
  std::string out(4 + 4 * units.size(), '\0');
  std::memcpy(out.data(), &trie_bytes, 4);
  std::memcpy(out.data() + 4, units.data(), 4 * units.size());
  return out + texts;
}

class HostileTokenizer : public testing::Test {
 protected:
  /// What is said when `file` of the small tokenizer `golden` (none: an empty folder) holds `bytes`.
  std::string refusal(const char* golden, const char* file, const std::string& bytes) {
    fs::remove_all(folder());
    if (*golden != '\0')
      fs::copy(golden_folder(golden), folder());
    else
      fs::create_directories(folder());
    write_file(folder() / file, bytes);
    const std::clock_t begin = std::clock();
    std::string said = message_of<core::UserError>([&] { load_tokenizer(folder()); });
    EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 1.0) << said;
    return said;
  }
  std::string sentencepiece(const std::string& bytes) { return refusal("", "spiece.model", bytes); }
  std::string merges(const std::string& text) { return refusal("", kGz, gzipped("heading\n" + text)); }
  fs::path folder() const { return place_.path() / "tokenizer"; }
  TemporaryFolder place_;
};

TEST_F(HostileTokenizer, MergesInGzip) {
  const std::string good = core::read_text(golden_folder("open_clip") / kGz);
  for (const std::size_t bytes : {10UL, 100UL, good.size() - 9, good.size() - 1})
    EXPECT_THAT(refusal("", kGz, good.substr(0, bytes)), HasSubstr("cut short")) << bytes;
  EXPECT_THAT(refusal("", kGz, good + good), HasSubstr("bytes follow"));
  EXPECT_THAT(refusal("", kGz, "not gzip at all"), HasSubstr("not a gzip stream"));
  EXPECT_THAT(refusal("", kGz, gzipped(std::string(200 << 20, 'a'))), HasSubstr("unpacks to more than"));
  EXPECT_THAT(merges("a b c"), HasSubstr("line 2"));
  EXPECT_THAT(merges("a b\n\n"), HasSubstr("line 3"));
  EXPECT_THAT(merges(" b"), HasSubstr("is no merge"));
  EXPECT_THAT(merges("a b\na b"), HasSubstr("comes twice"));
  EXPECT_THAT(merges("ab c"), HasSubstr("names the piece \"ab\""));
  EXPECT_THAT(merges("a \xFF"), HasSubstr("not UTF-8"));
}

TEST_F(HostileTokenizer, VocabularyAndMerges) {
  const std::string good = core::read_text(golden_folder("clip") / "vocab.json");
  const auto vocabulary = [&](const std::function<void(Json&)>& change) {
    Json json = Json::parse(good);
    change(json);
    return refusal("clip", "vocab.json", json.dump());
  };
  EXPECT_THAT(vocabulary([](Json& json) { json["b"] = 7; }), HasSubstr("given twice"));
  EXPECT_THAT(vocabulary([](Json& json) { json["b"] = 4'000'000'000; }), HasSubstr("has the id 4000000000"));
  EXPECT_THAT(vocabulary([](Json& json) { json["b"] = -1; }), HasSubstr("has the id -1"));
  EXPECT_THAT(vocabulary([](Json& json) { json["b"] = "1"; }), HasSubstr("has the id"));
  EXPECT_THAT(vocabulary([](Json& json) { json = Json::array({1}); }), HasSubstr("not a JSON object"));
  EXPECT_THAT(vocabulary([](Json& json) { json = Json::object(); }), HasSubstr("1 to"));
  EXPECT_THAT(vocabulary([](Json& json) {
                json["new"] = json["a"];
                json.erase("a");
              }),
              HasSubstr("for byte 97"));
  EXPECT_THAT(refusal("clip", "vocab.json", good.substr(0, 1000)), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("clip", "vocab.json", std::string(10000, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(refusal("clip", "merges.txt", "#version: 0.2\nq zzz\n"), HasSubstr("does not have"));
  EXPECT_THAT(refusal("clip", "merges.txt", "q q\n"), HasSubstr("does not have"));
  EXPECT_THAT(refusal("clip", "merges.txt", "t h\nt h\n"), HasSubstr("there twice"));
  EXPECT_THAT(refusal("clip", "merges.txt", ""), HasSubstr("is empty"));
  EXPECT_THAT(refusal("clip", "merges.txt", "version https://git-lfs.github.com/spec/v1\n"),
              HasSubstr("LFS"));
}

TEST_F(HostileTokenizer, TokenizerJson) {
  const Json good = Json::parse(core::read_text(golden_folder("clip_json") / "tokenizer.json"));
  const auto changed = [&](const std::function<void(Json&)>& change) {
    Json json = good;
    change(json);
    return refusal("clip_json", "tokenizer.json", json.dump());
  };
  EXPECT_THAT(changed([](Json& json) { json["model"]["type"] = "WordLevel"; }), HasSubstr("WordLevel"));
  EXPECT_THAT(changed([](Json& json) { json.erase("model"); }), HasSubstr("model.type"));
  EXPECT_THAT(changed([](Json& json) { json["model"]["end_of_word_suffix"] = ""; }),
              HasSubstr("end_of_word"));
  EXPECT_THAT(changed([](Json& json) { json["model"]["vocab"] = 3; }), HasSubstr("model.vocab"));
  EXPECT_THAT(changed([](Json& json) { json["model"]["merges"][3] = 3; }), HasSubstr("entry 4"));
  EXPECT_THAT(changed([](Json& json) {
                json["model"]["merges"][3] = {"a", "b", "c"};
              }),
              HasSubstr("entry 4"));
  EXPECT_THAT(changed([](Json& json) { json["added_tokens"] = 3; }), HasSubstr("added_tokens"));
  EXPECT_THAT(changed([](Json& json) { json["added_tokens"][0]["id"] = -5; }), HasSubstr("-5 is no id"));
  EXPECT_THAT(changed([](Json& json) { json["added_tokens"][0]["content"] = 5; }), HasSubstr("content"));
  EXPECT_THAT(changed([](Json& json) { json["added_tokens"][0]["content"] = std::string(300, 'a'); }),
              HasSubstr("300 bytes"));
  EXPECT_THAT(changed([](Json& json) { json["added_tokens"][0]["single_word"] = true; }),
              HasSubstr("single_word"));
  const fs::path big = folder() / "tokenizer.json";
  fs::resize_file(big, 33 << 20);
  EXPECT_THAT(message_of<core::UserError>([&] { load_tokenizer(folder()); }), HasSubstr("34603008 bytes"));
  fs::remove(big);
  fs::create_directories(big);
  EXPECT_THAT(message_of<core::UserError>([&] { load_tokenizer(folder()); }), HasSubstr("is no file"));
}

TEST_F(HostileTokenizer, Settings) {
  const auto settings = [&](const std::string& text) {
    return refusal("clip", "tokenizer_config.json", text);
  };
  EXPECT_THAT(settings("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(settings(R"({"bos_token": 3})"), HasSubstr("bos_token"));
  EXPECT_THAT(settings(R"({"added_tokens_decoder": {"x": "y"}})"), HasSubstr("\"x\" is no id"));
  EXPECT_THAT(settings(R"({"added_tokens_decoder": [1]})"), HasSubstr("id -> token"));
  EXPECT_THAT(
      refusal("clip", "special_tokens_map.json", R"({"pad_token": {"content": "x", "normalized": 1}})"),
      HasSubstr("normalized"));
  EXPECT_THAT(refusal("t5", "tokenizer_config.json", R"({"extra_ids": 100000000})"), HasSubstr("extra_ids"));
  EXPECT_THAT(refusal("t5", "tokenizer_config.json", R"({"eos_token": "<eos>"})"), HasSubstr("<eos>"));
  EXPECT_THAT(refusal("open_clip", "open_clip_config.json", "{}"), HasSubstr("text_cfg"));
  EXPECT_THAT(refusal("open_clip", "open_clip_config.json",
                      R"({"model_cfg": {"text_cfg": {"hf_tokenizer_name": "xlm-roberta-large"}}})"),
              HasSubstr("xlm-roberta-large"));
  EXPECT_THAT(refusal("open_clip", "open_clip_config.json",
                      R"({"model_cfg": {"text_cfg": {"tokenizer_kwargs": {"clean": "canonicalize"}}}})"),
              HasSubstr("canonicalize"));
}

TEST_F(HostileTokenizer, SentencepieceMessages) {
  EXPECT_THAT(sentencepiece(std::string("\x0A") + varint(1ULL << 62)), HasSubstr("ends too early at byte"));
  EXPECT_THAT(sentencepiece(std::string("\x0A") + varint(~0ULL)), HasSubstr("ends too early"));
  EXPECT_THAT(sentencepiece(std::string(12, '\xFF')), HasSubstr("more than ten bytes"));
  EXPECT_THAT(sentencepiece("\x0B"), HasSubstr("unknown wire type"));
  EXPECT_THAT(sentencepiece(bytes_field(1, bytes_field(1, "a").substr(0, 2))), HasSubstr("ends too early"));
  EXPECT_THAT(sentencepiece(varint(1 << 3) + varint(5)), HasSubstr("a message expected"));
  EXPECT_THAT(sentencepiece(bytes_field(7, "nothing")), HasSubstr("</s>"));  // the sentinels alone
  EXPECT_THAT(sentencepiece("<!doctype html>"), HasSubstr("not a sentencepiece model"));
  EXPECT_THAT(sentencepiece(specials() + bytes_field(2, varint(3 << 3) + varint(2))),
              HasSubstr("model_type"));
  EXPECT_THAT(sentencepiece(specials() + bytes_field(2, varint(35 << 3) + varint(1))), HasSubstr("fallback"));
}

TEST_F(HostileTokenizer, SentencepiecePieces) {
  EXPECT_THAT(sentencepiece(specials() + piece("a", std::numeric_limits<float>::quiet_NaN())),
              HasSubstr("nan"));
  EXPECT_THAT(sentencepiece(specials() + piece("a", std::numeric_limits<float>::infinity())),
              HasSubstr("inf"));
  EXPECT_THAT(sentencepiece(specials() + piece("a", 1) + piece("a", 1)), HasSubstr("there twice"));
  EXPECT_THAT(sentencepiece(specials() + piece("<extra_id_5>", 1)), HasSubstr("there twice"));
  EXPECT_THAT(sentencepiece(specials() + piece("", 1)), HasSubstr("has 0 bytes"));
  EXPECT_THAT(sentencepiece(specials() + piece(std::string(81, 'a'), 1)), HasSubstr("has 81 bytes"));
  EXPECT_THAT(sentencepiece(specials() + piece("\xFF", 1)), HasSubstr("not UTF-8"));
  EXPECT_THAT(sentencepiece(piece("<pad>", 0, 3) + piece("<unk>", 0, 2) + piece("x", 0)), HasSubstr("</s>"));
}

TEST_F(HostileTokenizer, Charsmaps) {
  const auto said = [&](const std::string& bytes) { return sentencepiece(with_charsmap(bytes)); };
  const std::string x("x\0", 2);
  EXPECT_THAT(said("ab"), HasSubstr("a trie of 0 bytes"));
  EXPECT_THAT(said(charsmap(4'000'000'000, {0}, x)), HasSubstr("a trie of 4000000000 bytes"));
  EXPECT_THAT(said(charsmap(6, {0, 0}, x)), HasSubstr("a trie of 6 bytes"));
  EXPECT_THAT(said(charsmap(4, {0}, "")), HasSubstr("end"));
  EXPECT_THAT(said(charsmap(4, {0}, "x")), HasSubstr("ends with zero"));
  EXPECT_THAT(said(charsmap(4, {0}, std::string("\xFF\0", 2))), HasSubstr("UTF-8"));
  EXPECT_THAT(said(charsmap(4, {0}, std::string(299, 'x') + x)), HasSubstr("300 bytes"));
  EXPECT_THAT(said(charsmap(4, {0x7FFFFD00}, x)), HasSubstr("points outside"));
  EXPECT_THAT(said(charsmap(8, {0x100 | 1 << 10, 0x80000005}, x)), HasSubstr("outside its replacements"));
  EXPECT_THAT(said(charsmap(4, {0x100 | 7 << 10}, x)), HasSubstr("outside its trie"));
  EXPECT_THAT(said(charsmap(8, {0x100 | 1 << 10, 0x80000001}, std::string("\u00e9\0", 3))),
              HasSubstr("outside its replacements"));  // the middle of a character
}

/// A file with a few bytes changed loads or is refused, and what loads encodes.
TEST_F(HostileTokenizer, AnyDamageIsRefusedOrHarmless) {
  const std::array<std::pair<const char*, const char*>, 5> files = {{{"open_clip", kGz},
                                                                     {"clip", "merges.txt"},
                                                                     {"clip", "vocab.json"},
                                                                     {"clip_json", "tokenizer_config.json"},
                                                                     {"t5", "spiece.model"}}};
  std::mt19937 random(5);
  for (const auto& [golden, file] : files) {
    fs::remove_all(folder());
    fs::copy(golden_folder(golden), folder());
    const std::string good = core::read_text(folder() / file);
    int loaded = 0;
    for (int round = 0; round < 60; ++round) {
      std::string bad = good;
      for (int i = 0; i <= round % 4; ++i) bad[random() % bad.size()] = static_cast<char>(random());
      if (round % 5 == 0) bad.resize(random() % bad.size());
      write_file(folder() / file, bad);
      try {
        const auto tokenizer = load_tokenizer(folder());
        EXPECT_GE(tokenizer->encode("It's a photo of 日本, ﬁ e\u0301 </s> <|endoftext|>!").size(), 1U);
        ++loaded;
      } catch (const core::UserError& refused) {
        EXPECT_THAT(refused.what(), HasSubstr(folder().string()));
      }
    }
    EXPECT_LT(loaded, 60) << file;
  }
}

}  // namespace
}  // namespace microdit::encoders
