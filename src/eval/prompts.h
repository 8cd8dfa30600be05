// Prompts from the command line and from files, checked.
#pragma once

#include <string>
#include <vector>

namespace microdit::eval {

/// One prompt per line (LF, CRLF or CR), UTF-8, a mark at the beginning is dropped; blank lines are skipped,
/// lines that begin with '#' too (they are counted in the log; "\#" begins a prompt with '#'). UserError,
/// with file and line: no such file, another encoding, a zero byte, no prompt.
std::vector<std::string> read_prompts(const std::string& file);

/// UserError when a --prompt is not UTF-8.
void check_prompts(const std::vector<std::string>& prompts);

}  // namespace microdit::eval
