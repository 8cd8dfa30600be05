// Tables of foreign bytes: see targets.h.
#pragma once

#include <string_view>

namespace microdit::fuzz {

void json_rows(std::string_view bytes);
void csv_rows(std::string_view bytes);
void table_file(std::string_view bytes);

}  // namespace microdit::fuzz
