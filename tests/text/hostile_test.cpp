// Captions made to take long: time grows with their length only.
#include <gtest/gtest.h>

#include <ctime>
#include <string>
#include <vector>

#include "text/caption_processor.h"
#include "text/html_text.h"

namespace microdit::text {
namespace {

constexpr std::size_t kBytes = 256 << 10;  // a quadratic rule would need minutes
constexpr double kSeconds = 1;             // of this process; each takes about a tenth of it

std::string repeated(const std::string& unit, std::size_t bytes) {
  std::string text;
  while (text.size() + unit.size() <= bytes) text += unit;
  return text;
}

double seconds_of(const std::string& text) {
  const std::clock_t start = std::clock();
  clean_caption(text);
  gentle_caption(text);
  html_text(text);
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

TEST(HostileCaptions, OneUnitOverAndOver) {
  const std::vector<std::string> units = {"a",
                                          "1",
                                          " ",
                                          "\n",
                                          "<",
                                          ">",
                                          "&",
                                          ";",
                                          "\"",
                                          "'",
                                          ".",
                                          "/",
                                          "-",
                                          "_",
                                          "#",
                                          "@",
                                          "%",
                                          "+",
                                          ":",
                                          "\\",
                                          "(",
                                          "é",
                                          "日",
                                          "Ã",
                                          "Â",
                                          "â€",
                                          "Ã©",
                                          "😀",
                                          "“",
                                          "—",
                                          "٣",
                                          "\u0301",
                                          "\u0300\u0316",
                                          "\ufffd",
                                          "\x1b[",
                                          "Σ",
                                          "İ",
                                          "ﬃ",
                                          "가",
                                          "<a",
                                          "<a ",
                                          "<a href=\"",
                                          "<a b='<a c=\"",
                                          "<a =",
                                          "<a\"",
                                          "=' ",
                                          "</",
                                          "</a",
                                          "<!--",
                                          "<![cdata[",
                                          "<![if",
                                          "<?",
                                          "-- ",
                                          "] ",
                                          "<b>",
                                          "<br>",
                                          "</br>",
                                          "<script>",
                                          "</script",
                                          "<pre>",
                                          "<template>",
                                          "&amp;",
                                          "&amp",
                                          "amp;",
                                          "&#",
                                          "&#6",
                                          "&notit",
                                          "&#xD800;",
                                          "http:",
                                          "a.com",
                                          ".com/",
                                          "a.com@",
                                          "a.",
                                          "www:",
                                          "1.",
                                          "12.34",
                                          "1x",
                                          "10.",
                                          "a1",
                                          "ab12 ",
                                          "#12345",
                                          "@a",
                                          "free ",
                                          "shipping ",
                                          "click for ",
                                          "page ",
                                          ".png",
                                          "x.jpg ",
                                          " . ",
                                          " : ",
                                          "..",
                                          "%41",
                                          "%C3",
                                          "<person>",
                                          "5:55 ",
                                          "Ã\u0083Â",
                                          "à "};
  for (const std::string& unit : units) EXPECT_LT(seconds_of(repeated(unit, kBytes)), kSeconds) << unit;
}

TEST(HostileCaptions, LongRunsWithAnEnd) {
  const std::string blank = repeated(" ", kBytes), digits = repeated("1", kBytes);
  for (const std::string& text :
       {"a" + blank + ":", "page" + blank + "x", "&#" + digits + ";", "#" + digits + "a",
        "a.com" + repeated("/_", kBytes) + "@", repeated("<a ", kBytes) + "'",
        "<![cdata[" + repeated("]", kBytes), "a" + repeated("\u0316\u0301\u0327", kBytes),
        "\x1b[" + repeated("1;", kBytes), "&" + repeated("amp;", kBytes)})
    EXPECT_LT(seconds_of(text), kSeconds) << text.substr(0, 20);
}

/// What changes a little thousands of times is quadratic in the original, too: a second each for the reference and the gentle way.
TEST(HostileCaptions, TenKilobytesThatRepairThemselvesStepByStep) {
  constexpr std::size_t kCaption = 10'000;
  std::string lines;  // one bound for all of them
  for (int line = 0; line < 12; ++line) lines += repeated("Â", kCaption) + "©☃\n";
  for (const std::string& text : {lines, repeated("Â", kCaption) + "©",
                                  repeated("&#194;", kCaption) + "&#169;", "&" + repeated("amp;", kCaption)})
    EXPECT_LT(seconds_of(text), 2 * kSeconds) << text.substr(0, 20);
}

}  // namespace
}  // namespace microdit::text
