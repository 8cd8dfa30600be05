// The originals' answers, as scripts/make_text_goldens.py wrote them.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"

namespace microdit::text {

/// The rows of tests/text/goldens/<name>: a text and what each original makes of it (null where it refuses).
inline std::vector<core::Json> golden_rows(const std::string& name) {
  const std::string path = std::string(MICRODIT_SOURCE_DIR) + "/tests/text/goldens/" + name;
  std::ifstream file(path);
  core::check(file.good(), "{}: cannot be read", path);
  std::vector<core::Json> rows;
  for (std::string line; std::getline(file, line);) rows.push_back(core::parse_json(line, path));
  return rows;
}

}  // namespace microdit::text
