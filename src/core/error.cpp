// What errors mean: errno values, exceptions of the standard library, and errors on their way between ranks.
#include "core/error.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>

namespace microdit::core {
namespace {

/// The path that the user named is not what it should be: no other machine would mend that.
bool is_wrong_path(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case EEXIST:
    case EACCES:
    case EPERM:
    case EROFS:
    case ENAMETOOLONG:
    case ELOOP:
      return true;
    default:
      return false;
  }
}

Verdict judge_file_system(const std::filesystem::filesystem_error& error) {
  const int number =
      error.code().category() == std::generic_category() || error.code().category() == std::system_category()
          ? error.code().value()
          : 0;
  std::string paths = error.path1().string();
  if (!error.path2().empty()) paths += " -> " + error.path2().string();
  const std::string text = fmt::format("{}: {}", paths, error.code().message());
  if (is_fault(number)) return {kHardwareFault, text};
  if (is_wrong_path(number))
    return {kUserMistake, fmt::format("{}; name a folder that can be made and written", text)};
  return {kFailed, text};
}

}  // namespace

bool is_fault(int error_number) {
  switch (error_number) {
    case EIO:
    case ESTALE:
    case ETIMEDOUT:
    case EREMOTEIO:
    case ENODEV:
    case ENXIO:
    case ESHUTDOWN:
    case EHOSTDOWN:
    case ENOTCONN:
      return true;
    default:
      return false;
  }
}

void throw_errno(int error_number, const std::string& what) {
  const std::string text = fmt::format("{}: {}", what, std::strerror(error_number));
  if (is_fault(error_number)) throw FaultError(text);
  throw SystemError(text);
}

void throw_input_errno(int error_number, const std::string& what) {
  if (is_fault(error_number)) throw InputFault(fmt::format("{}: {}", what, std::strerror(error_number)));
  if (is_wrong_path(error_number)) throw UserError(fmt::format("{}: {}", what, std::strerror(error_number)));
  throw_errno(error_number, what);
}

Verdict judge(const std::exception& error) {
  if (const auto* path = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return judge_file_system(*path);
  if (dynamic_cast<const UserError*>(&error) != nullptr) return {kUserMistake, error.what()};
  if (dynamic_cast<const FaultError*>(&error) != nullptr) return {kHardwareFault, error.what()};
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr)
    return {kFailed, "out of memory on the host: ask for more (--mem), or use fewer ranks per node"};
  return {kFailed, error.what()};
}

std::string error_to_text(const std::exception& error, std::string_view where) {
  const Verdict verdict = judge(error);
  return fmt::format("{} {}{}", verdict.exit_code, where, verdict.message);
}

void throw_from_text(const std::string& text) {
  const std::size_t space = text.find(' ');
  check(space != std::string::npos, "'{}' is no error", text);
  const std::string message = text.substr(space + 1);
  switch (std::atoi(text.c_str())) {
    case kUserMistake:
      throw UserError(message);
    case kHardwareFault:
      throw FaultError(message);
    default:
      throw SystemError(message);
  }
}

}  // namespace microdit::core
