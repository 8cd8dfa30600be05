// Prompts from the command line and from files, checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace microdit::eval {

/// What stands for a prompt where a model is conditioned on nothing.
inline constexpr const char* kNoCondition = "unconditional";

struct PromptList {
  std::vector<std::string> prompts;
  std::vector<std::string> lines{};  ///< of a .jsonl file, the whole line of each prompt; else none
};

/// One prompt per line (LF, CRLF or CR), UTF-8, a mark at the beginning is dropped; blank lines are skipped,
/// lines that begin with '#' too (they are counted in the log; "\#" begins a prompt with '#'). Of a file that ends in .jsonl
/// each line is a JSON object with a text `prompt`. UserError, with file and line: no such file, another encoding, a zero
/// byte, no prompt.
PromptList read_prompts(const std::string& file);

/// The number of the class that a prompt names: by its name (capitals do not count) or as a number below `count`. UserError lists them.
std::int64_t class_of_prompt(const std::string& prompt, const std::vector<std::string>& names,
                             std::int64_t count);

/// A prompt for each class of a class-conditional model: its name, or its number where it has none of its own.
std::vector<std::string> all_classes(const std::vector<std::string>& names, std::int64_t count);

/// UserError when a --prompt is not UTF-8.
void check_prompts(const std::vector<std::string>& prompts);

}  // namespace microdit::eval
