// JSON by nlohmann, with a builder of our own: it refuses duplicate keys and stays linear in the number of
// keys (the library's ordered object searches linearly at each insertion; a vocabulary has 50,000).
#include "core/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <system_error>
#include <unordered_map>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/utf8.h"

namespace microdit::core {
namespace {

constexpr std::size_t kMostSaid = 300;  // bytes of a foreign text in a message

constexpr std::size_t kMaxDepth = 200;
constexpr std::size_t kNew = static_cast<std::size_t>(-1);

class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string_view text, std::string_view origin, bool last_counts = false,
          BigIntegers big = BigIntegers::rounded)
      : text_(text), origin_(origin), last_counts_(last_counts), big_(big) {}
  Json take() { return std::move(root_); }

  bool null() override { return add(Json(nullptr)), true; }
  bool boolean(bool value) override { return add(Json(value)), true; }
  bool number_integer(number_integer_t value) override { return add(Json(value)), true; }
  bool number_unsigned(number_unsigned_t value) override { return add(Json(value)), true; }
  bool number_float(number_float_t value, const string_t& digits) override {
    const bool integer = digits.find_first_of(".eE") == digits.npos;
    return add(integer && big_ == BigIntegers::as_text ? Json(digits) : Json(value)), true;
  }
  bool string(string_t& value) override { return add(Json(std::move(value))), true; }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()), true; }
  bool start_array(std::size_t) override { return open(Json::array()), true; }
  bool end_object() override { return open_.pop_back(), true; }
  bool end_array() override { return open_.pop_back(), true; }

  bool key(string_t& name) override {
    Level& level = open_.back();
    const auto [found, fresh] = level.seen.try_emplace(name, level.value->size());
    if (!fresh && !last_counts_)
      user_error("{}: duplicate JSON key '{}'", origin_, shortened(name, kMostSaid));
    level.again = fresh ? kNew : found->second;
    level.key = std::move(name);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception& error) override {
    const auto end = text_.begin() + static_cast<std::ptrdiff_t>(std::min(position, text_.size()));
    std::string_view what = error.what();
    if (const auto bracket = what.find("] "); bracket != what.npos) what.remove_prefix(bracket + 2);
    user_error("{}: not valid JSON near line {}: {}", origin_, 1 + std::count(text_.begin(), end, '\n'),
               with_valid_utf8(shortened(what, kMostSaid)));
  }

 private:
  struct Level {
    Json* value;
    std::string key;
    std::unordered_map<std::string, std::size_t> seen;  // key -> its place among the members
    std::size_t again = kNew;                           // the place of a key that was there before
  };

  Json* add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level& level = open_.back();
    if (level.value->is_array()) {
      level.value->push_back(std::move(value));
      return &level.value->back();
    }
    auto& members = level.value->get_ref<Json::object_t&>();
    if (level.again != kNew) {
      Json& place = std::next(members.begin(), static_cast<std::ptrdiff_t>(level.again))->second;
      place = std::move(value);
      return &place;
    }
    members.emplace_back(std::move(level.key), std::move(value));  // known to be new
    return &members.back().second;
  }

  void open(Json container) {
    if (open_.size() == kMaxDepth) user_error("{}: JSON nested deeper than {} levels", origin_, kMaxDepth);
    Json* placed = add(std::move(container));  // stays put: a container grows only while no child is open
    open_.push_back({placed, {}, {}, kNew});
  }

  std::string_view text_;
  std::string_view origin_;
  bool last_counts_;
  BigIntegers big_;
  Json root_;
  std::vector<Level> open_;
};

constexpr std::string_view kReplacement = "\\ufffd";

/// The value of "\uXXXX" at the beginning of `text`; nothing when there is none.
std::optional<unsigned> escaped_unit(std::string_view text) {
  unsigned value = 0;
  if (!text.starts_with("\\u") || text.size() < 6) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + 6, value, 16);
  if (error != std::errc() || end != text.data() + 6) return std::nullopt;
  return value;
}

/// The escape at the beginning of `text` as JSON has it; `length` of what it was. Half a surrogate pair is U+FFFD.
std::string_view strict_escape(std::string_view text, std::size_t& length) {
  length = std::min<std::size_t>(2, text.size());
  const std::optional<unsigned> unit = escaped_unit(text);
  if (!unit || *unit < 0xd800 || *unit > 0xdfff) return text.substr(0, length);
  length = 6;
  const std::optional<unsigned> next = escaped_unit(text.substr(6));
  if (*unit > 0xdbff || !next || *next < 0xdc00 || *next > 0xdfff) return kReplacement;
  length = 12;
  return text.substr(0, length);
}

/// Characters of the number at the beginning of `text` when it is too large for a double, else 0.
std::size_t infinite_number(std::string_view text) {
  if (text.empty() || !(text[0] == '-' || (text[0] >= '0' && text[0] <= '9'))) return 0;
  const std::string number(text.substr(0, text.find_first_not_of("+-.0123456789eE")));
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  return std::isinf(value) && end == number.c_str() + number.size() ? number.size() : 0;
}

/// What Python's json takes beyond JSON, as JSON: NaN, Infinity, -Infinity and numbers that are infinite as null.
std::string as_strict(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::size_t word = 0;
    if (!in_string) {
      const bool number_begins = i == 0 || std::string_view(" \t\r\n:,[").find(text[i - 1]) != text.npos;
      if (number_begins) word = infinite_number(text.substr(i));
      for (const std::string_view name : {"NaN", "Infinity", "-Infinity"})
        if (text.substr(i).starts_with(name)) word = name.size();
    }
    if (word > 0) {
      out += "null";
      i += word - 1;
      continue;
    }
    if (in_string && c == '\\') {
      std::size_t length = 0;
      out += strict_escape(text.substr(i), length);
      i += length - 1;
      continue;
    }
    out += c;
    if (c == '"') in_string = !in_string;
  }
  return out;
}

}  // namespace

Json parse_json(std::string_view text, std::string_view origin) {
  Builder builder(text, origin);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

Json parse_foreign_json(std::string_view text, std::string_view origin, BigIntegers big) {
  const std::string strict = as_strict(text);
  Builder builder(strict, origin, true, big);
  Json::sax_parse(strict.begin(), strict.end(), &builder);
  return builder.take();
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_text(path), path.string());
}

void write_json(const std::filesystem::path& path, const Json& value) {
  atomic_write(path, value.dump(2) + "\n");
}

}  // namespace microdit::core
