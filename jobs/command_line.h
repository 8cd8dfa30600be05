// The words that a program was started with.
#pragma once

#include "job.h"

namespace microdit::jobs {

/// Fills `line`; false when --help or --version has been answered. UserError says what to type instead, where that can be told.
bool parse_command_line(int argc, char** argv, const JobInfo& info, CommandLine& line);

}  // namespace microdit::jobs
