// JSON by nlohmann, with a builder of our own: it refuses duplicate keys and stays linear in the number of
// keys (the library's ordered object searches linearly at each insertion; a vocabulary has 50,000).
#include "core/json.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"

namespace microdit::core {
namespace {

constexpr std::size_t kMaxDepth = 200;
constexpr std::size_t kNew = static_cast<std::size_t>(-1);

class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string_view text, std::string_view origin, bool last_counts = false)
      : text_(text), origin_(origin), last_counts_(last_counts) {}
  Json take() { return std::move(root_); }

  bool null() override { return add(Json(nullptr)), true; }
  bool boolean(bool value) override { return add(Json(value)), true; }
  bool number_integer(number_integer_t value) override { return add(Json(value)), true; }
  bool number_unsigned(number_unsigned_t value) override { return add(Json(value)), true; }
  bool number_float(number_float_t value, const string_t&) override { return add(Json(value)), true; }
  bool string(string_t& value) override { return add(Json(std::move(value))), true; }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()), true; }
  bool start_array(std::size_t) override { return open(Json::array()), true; }
  bool end_object() override { return open_.pop_back(), true; }
  bool end_array() override { return open_.pop_back(), true; }

  bool key(string_t& name) override {
    Level& level = open_.back();
    const auto [found, fresh] = level.seen.try_emplace(name, level.value->size());
    if (!fresh && !last_counts_) user_error("{}: duplicate JSON key '{}'", origin_, name);
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
               what);
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
  Json root_;
  std::vector<Level> open_;
};

/// The words NaN, Infinity and -Infinity, outside of strings, as null.
std::string without_nan(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::size_t word = 0;
    if (!in_string) {
      for (const std::string_view name : {"NaN", "Infinity", "-Infinity"})
        if (text.substr(i).starts_with(name)) word = name.size();
    }
    if (word > 0) {
      out += "null";
      i += word - 1;
      continue;
    }
    out += c;
    if (in_string && c == '\\' && i + 1 < text.size())
      out += text[++i];
    else if (c == '"')
      in_string = !in_string;
  }
  return out;
}

}  // namespace

Json parse_json(std::string_view text, std::string_view origin) {
  Builder builder(text, origin);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

Json parse_foreign_json(std::string_view text, std::string_view origin) {
  const std::string strict = without_nan(text);
  Builder builder(strict, origin, true);
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
