// WordPiece on a small vocabulary made here, and golden ids of the real one where it is at hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "encoders/temporary_folder.h"
#include "encoders/tokenizer.h"

namespace microdit::encoders {
namespace {

using Ids = std::vector<std::int32_t>;
using testing::HasSubstr;

// ids by line: 0 [PAD], 1 [UNK], 2 [CLS], 3 [SEP], 4 [MASK], 5 flag, 6 ##s, 7 :, 8 cote, 9 d, 10 ’, 11
// ivoire, 12 日, 13 本, 14 ##flag, 15 a, 16 !, 17 un, 18 ##known, 19 ##know, 20 €
constexpr const char* kVocabulary =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nflag\n##s\n:\ncote\nd\n’\nivoire\n日\n本\n##flag\na\n!\nun\n##"
    "known\n##know\n€\n";

class SmallVocabulary : public testing::Test {
 protected:
  SmallVocabulary() { write_file(place_.path() / "vocab.txt", kVocabulary); }
  Ids ids(std::string_view text, std::int64_t limit = 0) const {
    return load_wordpiece(place_.path())->encode(text, limit);
  }
  TemporaryFolder place_;
};

TEST_F(SmallVocabulary, SplitsOnPunctuationAndStripsAccents) {
  EXPECT_EQ(ids("flag: Côte d’Ivoire"), (Ids{2, 5, 7, 8, 9, 10, 11, 3}));
  EXPECT_EQ(ids("FLAG!!"), (Ids{2, 5, 16, 16, 3}));
}

TEST_F(SmallVocabulary, DecomposedAndPrecomposedAreTheSame) {
  EXPECT_EQ(ids("co\xCC\x82te"), ids("c\xC3\xB4te"));
}

TEST_F(SmallVocabulary, IdeographsStandAlone) {
  EXPECT_EQ(ids("日本flag"), (Ids{2, 12, 13, 5, 3}));
}

TEST_F(SmallVocabulary, LongestPieceFirst) {
  EXPECT_EQ(ids("unknown"), (Ids{2, 17, 18, 3}));
  EXPECT_EQ(ids("unknows"), (Ids{2, 17, 19, 6, 3}));
  EXPECT_EQ(ids("unflags flags"), (Ids{2, 17, 14, 6, 5, 6, 3}));
}

TEST_F(SmallVocabulary, AWordWithoutPiecesIsUnknownAsAWhole) {
  EXPECT_EQ(ids("flagx flag"), (Ids{2, 1, 5, 3}));
}

TEST_F(SmallVocabulary, OverLongWordsAreUnknown) {
  std::string word = "flag";
  for (int i = 0; i < 96; ++i) word += "s";
  EXPECT_EQ(ids(word).size(), 2U + 1U + 96U);  // 100 characters: still in pieces
  EXPECT_EQ(ids(word + "s"), (Ids{2, 1, 3}));
}

TEST_F(SmallVocabulary, ControlCharactersVanishAndWhiteSpaceSplits) {
  EXPECT_EQ(ids("fl\x01"
                "ag\xE2\x80\x8B"),
            (Ids{2, 5, 3}));  // U+0001 and U+200B (format)
  EXPECT_EQ(ids("a\xC2\xA0"
                "a\ta\r\na"),
            (Ids{2, 15, 15, 15, 15, 3}));
  EXPECT_EQ(ids("  \n "), (Ids{2, 3}));
  EXPECT_EQ(ids(""), (Ids{2, 3}));
}

TEST_F(SmallVocabulary, CurrencySignsAreNotPunctuation) {
  EXPECT_EQ(ids("a€ €"), (Ids{2, 1, 20, 3}));
}

TEST_F(SmallVocabulary, SpelledOutSpecialsAreThemselves) {
  EXPECT_EQ(ids("flag[SEP] a [MASK]"), (Ids{2, 5, 3, 15, 4, 3}));
  EXPECT_EQ(ids("[sep]"), (Ids{2, 1, 1, 1, 3}));
}

TEST_F(SmallVocabulary, SaysWhatIsNotSeen) {
  const auto tokenizer = load_wordpiece(place_.path());
  EXPECT_EQ(unseen_end(*tokenizer, "flag a flag", 5), "");
  EXPECT_EQ(unseen_end(*tokenizer, "flag a flag", 4), "flag");
  EXPECT_EQ(unseen_end(*tokenizer, "flag  unknown a", 4), "unknown a");  // a word that is seen in part
  EXPECT_EQ(unseen_end(*tokenizer, "flag a", 2), "flag a");
  EXPECT_EQ(unseen_end(*tokenizer, "日本日本", 4), "日本");
  EXPECT_EQ(unseen_end(*tokenizer, "", 2), "");
}

TEST_F(SmallVocabulary, TruncationKeepsTheClosingSpecial) {
  EXPECT_EQ(ids("a a a a", 4), (Ids{2, 15, 15, 3}));
  EXPECT_EQ(ids("a a", 4), (Ids{2, 15, 15, 3}));
  EXPECT_EQ(ids("a a", 2), (Ids{2, 3}));
}

TEST_F(SmallVocabulary, PadIsItsLine) {
  EXPECT_EQ(load_wordpiece(place_.path())->pad_id(), 0);
}

TEST_F(SmallVocabulary, RefusesWhatItCannotDo) {
  write_file(place_.path() / "tokenizer_config.json", R"({"do_lower_case": false})");
  EXPECT_THAT(message_of<core::UserError>([&] { load_wordpiece(place_.path()); }),
              HasSubstr("do_lower_case"));
  write_file(place_.path() / "tokenizer_config.json", R"({"do_lower_case": true, "strip_accents": null})");
  EXPECT_NO_THROW(load_wordpiece(place_.path()));
  write_file(place_.path() / "vocab.txt", "[PAD]\n[CLS]\n[SEP]\n");
  EXPECT_THAT(message_of<core::UserError>([&] { load_wordpiece(place_.path()); }), HasSubstr("[UNK]"));
  std::filesystem::remove(place_.path() / "vocab.txt");
  EXPECT_THAT(message_of<core::UserError>([&] { load_wordpiece(place_.path()); }), HasSubstr("vocab.txt"));
}

TEST(RealVocabulary, GoldenIds) {
  const auto folder = std::filesystem::path(MICRODIT_SOURCE_DIR) / "data/weights/all-MiniLM-L6-v2";
  if (!std::filesystem::exists(folder / "vocab.txt")) GTEST_SKIP() << folder << " holds no vocab.txt";
  const auto tokenizer = load_wordpiece(folder);
  EXPECT_EQ(tokenizer->encode("man: medium-dark skin tone"),
            (Ids{101, 2158, 1024, 5396, 1011, 2601, 3096, 4309, 102}));
  EXPECT_EQ(tokenizer->encode("Café naïve — 日本 flag: Côte d’Ivoire"),
            (Ids{101, 7668, 15743, 1517, 1864, 1876, 5210, 1024, 17155, 1040, 1521, 28346, 7442, 102}));
  EXPECT_EQ(tokenizer->encode("keycap: #"), (Ids{101, 3145, 17695, 1024, 1001, 102}));
  EXPECT_EQ(tokenizer->encode(std::string(101, 'a')), (Ids{101, 100, 102}));
  EXPECT_EQ(tokenizer->encode("O'ahu's 2nd place!!"),
            (Ids{101, 1051, 1005, 6289, 2226, 1005, 1055, 3416, 2173, 999, 999, 102}));
}

}  // namespace
}  // namespace microdit::encoders
