// A list of prompts.
#include "eval/prompts.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <string_view>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/utf8.h"

namespace microdit::eval {
namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of("\r\n");
    lines.push_back(text.substr(0, end));
    if (end == text.npos) break;
    text.remove_prefix(end + (text.substr(end).starts_with("\r\n") ? 2 : 1));
  }
  return lines;
}

std::string_view trimmed(std::string_view line) {
  constexpr std::string_view kBlank = " \t\f\v";
  const std::size_t first = line.find_first_not_of(kBlank);
  return first == line.npos ? std::string_view()
                            : line.substr(first, line.find_last_not_of(kBlank) - first + 1);
}

/// The prompt of a line of a .jsonl file.
std::string prompt_of(std::string_view line, const std::string& where) {
  const core::Json object = core::parse_foreign_json(line, where);
  const auto prompt = object.is_object() ? object.find("prompt") : object.end();
  if (prompt == object.end() || !prompt->is_string() ||
      trimmed(prompt->get_ref<const std::string&>()).empty())
    core::user_error("{} an object with a text \"prompt\" is wanted", where);
  core::check_text(prompt->get_ref<const std::string&>(), where + " prompt:");
  return *prompt;
}

}  // namespace

PromptList read_prompts(const std::string& file) {
  if (!std::filesystem::exists(file)) core::user_error("--prompts {}: no such file", file);
  const std::string text = core::read_text(file);
  if (const std::string_view other = core::marked_encoding(text); !other.empty()) {
    core::user_error(
        "--prompts {}: is {}; save it as UTF-8, for example: iconv -f {} -t UTF-8 {} > prompts.txt", file,
        other, other, file);
  }
  std::string_view rest = text;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);
  PromptList list;
  std::vector<std::string>& prompts = list.prompts;
  const bool is_json = file.ends_with(".jsonl");
  std::size_t number = 0, comments = 0;
  for (const std::string_view whole : lines_of(rest)) {
    const std::string_view line = trimmed(whole);
    const std::string where = fmt::format("--prompts {}, line {}:", file, ++number);
    core::check_text(line, where);
    if (line.empty()) continue;
    if (is_json) {
      prompts.push_back(prompt_of(line, where));
      list.lines.emplace_back(line);
    } else if (line.starts_with('#')) {
      ++comments;
    } else {
      prompts.emplace_back(line.substr(line.starts_with("\\#") ? 1 : 0));
    }
  }
  if (prompts.empty()) {
    core::user_error("--prompts {}: no prompts in it ({} lines, {} of them begin with '#' and are skipped)",
                     file, number, comments);
  }
  core::log_info(
      "{}: {} prompts{}", file, prompts.size(),
      comments == 0 ? ""
                    : fmt::format("; {} lines that begin with '#' are skipped (\\# begins a prompt with '#')",
                                  comments));
  return list;
}

std::int64_t class_of_prompt(const std::string& prompt, const std::vector<std::string>& names,
                             std::int64_t count) {
  const auto lower = [](std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    text.erase(text.find_last_not_of(' ') + 1);
    text.erase(0, std::min(text.find_first_not_of(' '), text.size()));
    return text;
  };
  for (std::size_t i = 0; i < names.size(); ++i)
    if (static_cast<std::int64_t>(i) < count && lower(names[i]) == lower(prompt))
      return static_cast<std::int64_t>(i);
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(prompt.data(), prompt.data() + prompt.size(), number);
  if (error == std::errc() && end == prompt.data() + prompt.size() && number >= 0 && number < count)
    return number;
  std::string known = fmt::format("0 to {}", count - 1);
  for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 50); ++i)
    known += fmt::format(", {}", names[i]);
  core::user_error("\"{}\" is no class of this model; there are: {}", core::shortened(prompt, 60), known);
}

std::vector<std::string> all_classes(const std::vector<std::string>& names, std::int64_t count) {
  std::vector<std::string> classes;
  for (std::int64_t i = 0; i < count; ++i) {
    const bool named =
        i < std::ssize(names) && class_of_prompt(names[static_cast<std::size_t>(i)], names, count) == i;
    classes.push_back(named ? names[static_cast<std::size_t>(i)] : std::to_string(i));
  }
  return classes;
}

void check_prompts(const std::vector<std::string>& prompts) {
  for (const std::string& prompt : prompts)
    core::check_text(prompt,
                     fmt::format("--prompt \"{}\":", core::with_valid_utf8(core::shortened(prompt, 60))));
}

}  // namespace microdit::eval
