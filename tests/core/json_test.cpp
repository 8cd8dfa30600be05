// JSON: order kept, duplicates refused, errors placed, large objects in linear time.
#include "core/json.h"

#include <gmock/gmock.h>

#include <chrono>
#include <limits>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/scratch_folder.h"
#include "core/utf8.h"

namespace microdit::core {
namespace {

using testing::HasSubstr;

std::string parse_error_of(const std::string& text) {
  return message_of<UserError>([&] { parse_json(text, "facts.json"); });
}

TEST(Json, EqualsTheLibrarysOwnParser) {
  const std::string text =
      R"({"z":[1,-2,3.5,1e40,{}],"a":{"b":[[],[null,true,false]],"":"\u00e9\n"},"u":18446744073709551615})";
  EXPECT_EQ(parse_json(text, "x").dump(), Json::parse(text).dump());
  EXPECT_EQ(parse_json("3", "x"), Json(3));
  EXPECT_EQ(parse_json(" [] ", "x"), Json::array());
}

TEST(Json, KeepsTheOrderOfKeys) {
  EXPECT_EQ(parse_json(R"({"z":1,"a":2})", "x").dump(), R"({"z":1,"a":2})");
}

TEST(Json, RefusesDuplicateKeysAtAnyDepth) {
  EXPECT_THAT(parse_error_of(R"({"a":1,"a":2})"), HasSubstr("facts.json: duplicate JSON key 'a'"));
  EXPECT_THAT(parse_error_of(R"([{"b":{"a":1,"a":2}}])"), HasSubstr("duplicate JSON key 'a'"));
  EXPECT_EQ(parse_error_of(R"([{"a":1},{"a":{"a":1}}])"), "");
}

TEST(Json, NamesOriginAndLine) {
  const std::string message = parse_error_of("{\"a\": 1,\n\"b\": }\n");
  EXPECT_THAT(message, HasSubstr("facts.json"));
  EXPECT_THAT(message, HasSubstr("line 2"));
  for (const char* bad : {"", "{", "[1,]", "nul", "{} {}", "\"\xff\"", "{'a':1}"})
    EXPECT_NE(parse_error_of(bad), "") << bad;
}

TEST(Json, RefusesDepthThatWouldExhaustTheStack) {
  EXPECT_EQ(parse_error_of(std::string(200, '[') + std::string(200, ']')), "");
  EXPECT_THAT(parse_error_of(std::string(1'000'000, '[')), HasSubstr("nested deeper"));
}

// The library itself casts: whatever a file of unknown origin says would be undefined behaviour, or another number.
TEST(Json, IntegersAreInTheirRange) {
  const auto number = [](const char* text) { return parse_json(text, "x"); };
  EXPECT_EQ(number("-9223372036854775808").get<std::int64_t>(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(number("18446744073709551615").get<std::uint64_t>(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(number("5.0").get<std::int32_t>(), 5);
  EXPECT_EQ(number("[1, 2e3]").get<std::vector<std::int64_t>>(), (std::vector<std::int64_t>{1, 2000}));
  for (const char* text : {"7e65", "77777777777777777777777777777777", "9223372036854775808", "-1e19", "2.7"})
    EXPECT_THROW(number(text).get<std::int64_t>(), Json::type_error) << text;
  for (const char* text : {"-1", "-1.0", "18446744073709551616", "1e20"})
    EXPECT_THROW(number(text).get<std::uint64_t>(), Json::type_error) << text;
  for (const char* text : {"2147483648", "\"3\"", "true", "null"})
    EXPECT_THROW(number(text).get<std::int32_t>(), Json::type_error) << text;
  EXPECT_THROW(number("[1, 1e65]").get<std::vector<std::int64_t>>(), Json::type_error);
  EXPECT_THROW(number("{\"a\": 1e65}").value("a", std::int64_t{3}), Json::type_error);
  EXPECT_EQ(number("{}").value("a", std::int64_t{3}), 3);
  EXPECT_EQ(number("1e65").get<double>(), 1e65);
}

TEST(Json, ManyKeysAreNoProblem) {
  std::string text = "{";
  for (int i = 0; i < 100'000; ++i) text += fmt::format("{}\"key{}\":{}", i == 0 ? "" : ",", i, i);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(parse_json(text += "}", "x").size(), 100'000u);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
}

TEST(Json, FilesRoundTrip) {
  ScratchFolder folder;
  write_json(folder / "a.json", Json{{"b", 1}, {"a", {1, 2}}});
  EXPECT_EQ(read_text(folder / "a.json"), "{\n  \"b\": 1,\n  \"a\": [\n    1,\n    2\n  ]\n}\n");
  EXPECT_EQ(read_json(folder / "a.json")["a"][1], 2);
  EXPECT_THAT(message_of<UserError>([&] { read_json(folder / "no.json"); }), HasSubstr("no.json"));
}

TEST(Json, AMessageIsNoLongerThanItNeedBe) {
  for (const std::string& text :
       {"{\"a\":\"" + std::string(1 << 20, 'x'),
        "{\"" + std::string(1 << 20, 'k') + "\":1,\"" + std::string(1 << 20, 'k') + "\":2}",
        std::string("{\"a\": \xff\xfe}")}) {
    try {
      parse_json(text, "f.json");
      ADD_FAILURE() << "was taken";
    } catch (const UserError& error) {
      EXPECT_LT(std::string_view(error.what()).size(), 600u);
      EXPECT_FALSE(first_invalid_utf8(error.what()).has_value());
    }
  }
}

}  // namespace
}  // namespace microdit::core
