// Every kind of tokenizer against what the originals made of the same texts (scripts/make_token_goldens.py), cutting and padding.
#include "encoders/tokenizer_goldens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <fstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "encoders/sentencepiece_file.h"
#include "encoders/temporary_folder.h"
#include "encoders/tokenizer.h"

namespace microdit::encoders {

namespace fs = std::filesystem;
using core::Json;

std::string encode_base64(const std::string& bytes) {
  constexpr const char* alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      out += i + k > bytes.size() ? '=' : alphabet[bits >> (18 - 6 * k) & 63];
  }
  return out;
}

Json t5_tokenizer_json() {
  const fs::path path = golden_folder("t5") / "spiece.model";
  const UnigramVocabulary vocabulary = parse_sentencepiece(core::read_text(path), path);
  Json pieces = Json::array(), added = Json::array();
  for (const auto& [piece, score] : vocabulary.pieces) pieces.push_back(Json::array({piece, score}));
  for (int i = 99; i >= 0; --i) {
    const std::string sentinel = "<extra_id_" + std::to_string(i) + ">";
    added.push_back({{"id", pieces.size()}, {"content", sentinel}, {"normalized", false}, {"special", true}});
    pieces.push_back(Json::array({sentinel, 0.0}));
  }
  return {
      {"added_tokens", added},
      {"normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(vocabulary.charsmap)}}},
      {"model", {{"type", "Unigram"}, {"unk_id", 2}, {"vocab", pieces}, {"byte_fallback", false}}}};
}

void write_t5_json_folder(const fs::path& folder) {
  write_file(folder / "tokenizer.json", t5_tokenizer_json().dump());
}

namespace {

using Ids = std::vector<std::int32_t>;

std::vector<Json> golden_lines() {
  std::vector<Json> lines;
  std::ifstream file(golden_folder("lines.jsonl"));
  for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
  return lines;
}

/// Compares all lines, whole and cut to each of `lengths`, whose last id stays the closing one.
void expect_goldens(const Tokenizer& tokenizer, const char* name) {
  const std::vector<Json> lines = golden_lines();
  ASSERT_GE(lines.size(), 200U);
  for (const Json& line : lines) {
    const auto text = line["text"].get<std::string>();
    const auto expected = line[name].get<Ids>();
    ASSERT_EQ(tokenizer.encode(text), expected) << line["text"].dump();
    for (const std::int64_t length : {2, 7, 77}) {
      Ids cut = expected;
      truncate(cut, length);
      EXPECT_EQ(tokenizer.encode(text, length), cut) << length << ' ' << line["text"].dump();
    }
  }
}

TEST(TokenizerGoldens, OpenClip) {
  const auto tokenizer = load_tokenizer(golden_folder("open_clip"));
  expect_goldens(*tokenizer, "open_clip");
  EXPECT_EQ(tokenizer->pad_id(), 0);
}

TEST(TokenizerGoldens, OpenClipFromTransformersFiles) {
  const TemporaryFolder place;
  fs::copy(golden_folder("clip"), place.path());
  write_file(place.path() / "open_clip_config.json",
             R"({"model_cfg": {"text_cfg": {"context_length": 77}}})");
  expect_goldens(*load_tokenizer(place.path()), "open_clip");
  fs::remove(place.path() / "merges.txt");
  fs::copy(golden_folder("clip_json") / "tokenizer.json", place.path());
  expect_goldens(*load_tokenizer(place.path()), "open_clip");
}

TEST(TokenizerGoldens, TransformersClip) {
  const auto tokenizer = load_tokenizer(golden_folder("clip"));
  expect_goldens(*tokenizer, "clip");
  EXPECT_EQ(tokenizer->pad_id(), 1213);  // <|endoftext|>
}

TEST(TokenizerGoldens, TransformersClipWithAnotherPad) {
  const auto tokenizer = load_tokenizer(golden_folder("clip_other_pad"));
  expect_goldens(*tokenizer, "clip_other_pad");
  EXPECT_EQ(tokenizer->pad_id(), 0);  // "!", a special wherever it stands
  const auto json = load_tokenizer(golden_folder("clip_json"));
  expect_goldens(*json, "clip_json");
  EXPECT_EQ(json->pad_id(), 0);
}

TEST(TokenizerGoldens, T5) {
  const auto tokenizer = load_tokenizer(golden_folder("t5"));
  expect_goldens(*tokenizer, "t5");
  EXPECT_EQ(tokenizer->pad_id(), 0);
  EXPECT_EQ(tokenizer->encode(""), (Ids{1}));
}

TEST(TokenizerGoldens, T5FromJson) {
  const TemporaryFolder place;
  write_t5_json_folder(place.path());
  expect_goldens(*load_tokenizer(place.path()), "t5");
}

TEST(TokenizerGoldens, RowsAreCutAndPadded) {
  const auto clip = load_tokenizer(golden_folder("clip"));
  const TokenRows rows = tokenize(*clip, {"", "a a a a a a"}, 5);
  EXPECT_EQ(Ids(rows.ids.begin(), rows.ids.begin() + 5), (Ids{1212, 1213, 1213, 1213, 1213}));
  EXPECT_EQ(rows.ids[9], 1213);
  EXPECT_NE(rows.ids[8], 1213);
  EXPECT_EQ(rows.num_tokens, (std::vector<std::int64_t>{2, 8}));
  const TokenRows open_clip = tokenize(*load_tokenizer(golden_folder("open_clip")), {""}, 4);
  EXPECT_EQ(open_clip.ids, (Ids{1212, 1213, 0, 0}));
  const TokenRows t5 = tokenize(*load_tokenizer(golden_folder("t5")), {"a"}, 120);
  EXPECT_EQ(t5.ids.size(), 120U);
  EXPECT_EQ(t5.ids[static_cast<std::size_t>(t5.num_tokens[0]) - 1], 1);
  EXPECT_EQ(t5.ids.back(), 0);
}

TEST(TokenizerGoldens, ChosenByTheFilesPresent) {
  const TemporaryFolder place;
  EXPECT_THAT(message_of<core::UserError>([&] { load_tokenizer(place.path()); }),
              testing::HasSubstr("no tokenizer in it"));
  fs::create_directories(place.path() / "text_encoder_2");
  fs::copy(golden_folder("clip"), place.path() / "tokenizer_2");
  EXPECT_EQ(load_tokenizer(place.path() / "text_encoder_2")->pad_id(), 1213);
  EXPECT_EQ(load_tokenizer(place.path() / "text_encoder_2/")->pad_id(), 1213);
  fs::copy(golden_folder("t5"), place.path());
  EXPECT_EQ(load_tokenizer(place.path())->encode(""), (Ids{1}));
  write_file(place.path() / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n");
  EXPECT_EQ(load_tokenizer(place.path())->encode(""), (Ids{2, 3}));
  fs::copy(golden_folder("open_clip"), place.path());
  EXPECT_EQ(load_tokenizer(place.path())->encode(""), (Ids{1212, 1213}));
}

TEST(TokenizerGoldens, LengthsThatTheEncoderTakes) {
  const TemporaryFolder place;
  fs::copy(golden_folder("clip"), place.path());
  EXPECT_NO_THROW(load_tokenizer(place.path(), 1000));
  write_file(place.path() / "config.json", R"({"text_config": {"max_position_embeddings": 77}})");
  EXPECT_NO_THROW(load_tokenizer(place.path(), 77));
  for (const std::int64_t length : {1, 78})
    EXPECT_THAT(message_of<core::UserError>([&] { load_tokenizer(place.path(), length); }),
                testing::HasSubstr("is not within 2 and 77"));
}

/// Longest CPU time of any 1 MiB of one repeated text.
double slowest_s(const Tokenizer& tokenizer) {
  double slowest = 0;
  for (const std::string unit :
       {"a",      "a ",      "[SEP]",  "[",  "</s>", "<|endoftext|>", "<extra_id_", "'",      "!",
        "1",      "e\u0301", "\u0301", "日", "▁",    "&amp;",         "\xFF",       "\uFDFA", "trol",
        "\u06DD", "👩\u200D", "â€™"}) {
    std::string text;
    while (text.size() < (1 << 20)) text += unit;
    const std::clock_t begin = std::clock();
    tokenizer.encode(text);
    slowest = std::max(slowest, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
  }
  return slowest;
}

TEST(TokenizerGoldens, AnyMebibyteTakesLessThanASecond) {
  for (const char* name : {"open_clip", "clip", "t5"})
    EXPECT_LT(slowest_s(*load_tokenizer(golden_folder(name))), 1.0) << name;
  const TemporaryFolder place;
  write_file(place.path() / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##a\n");
  const auto wordpiece = load_tokenizer(place.path());
  EXPECT_LT(slowest_s(*wordpiece), 1.0);
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "[SEP] ";
  const std::clock_t begin = std::clock();
  EXPECT_FALSE(unseen_end(*wordpiece, text, 128).empty());
  EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 1.0);
}

}  // namespace
}  // namespace microdit::encoders
