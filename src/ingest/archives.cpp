// The stage's side of reading an archive: one worker, its members one after the other.
#include "ingest/archives.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/error.h"
#include "ingest/archive_kind.h"
#include "ingest/worker_messages.h"
#include "ingest/worker_process.h"

namespace microdit::ingest {
namespace {

class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0 && errno == ENOENT)
      core::user_error("{}: no such archive: run download again", path.string());
    if (fd_ < 0) core::input_error(errno, "{}: cannot be opened", path.string());
  }
  ~OpenFile() { ::close(fd_); }
  OpenFile(const OpenFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::vector<std::string> arguments(const std::string& name, const ArchiveRules& rules) {
  std::vector<std::string> words = {"archive",
                                    name,
                                    rules.kind,
                                    std::to_string(rules.member_bytes),
                                    std::to_string(rules.expansion),
                                    rules.offsets  ? "1"
                                    : rules.pieces ? "pieces"
                                                   : "0"};
  words.insert(words.end(), rules.wanted.begin(), rules.wanted.end());
  return words;
}

[[noreturn]] void rethrow(MemberHeader::Kind kind, const std::string& text) {
  if (kind == MemberHeader::Kind::user_error) throw core::UserError(text);
  if (kind == MemberHeader::Kind::fault) throw core::InputFault(text);
  throw core::SystemError(text);
}

[[noreturn]] void died(const std::string& name, const WorkerEnd& end) {
  if (end.kind == WorkerEnd::Kind::killed)  // from outside: no verdict on the archive
    throw core::InputFault(fmt::format(
        "{}: the process that read it was killed ({}); is the machine, or the job's memory limit, out of "
        "memory?",
        name, end.words));
  if (end.kind == WorkerEnd::Kind::out_of_time) {
    core::user_error(
        "{}: reading it takes more than {} s of CPU per GiB: refused as hostile; take it from another source",
        name, limits::kArchiveSecondsPerGiB);
  }
  core::user_error(
      "{}: the process that read it died of it ({}): the archive is hostile or broken; take it from another "
      "source, or repack it",
      name, end.words);
}

}  // namespace

ArchiveSummary for_each_member(const std::filesystem::path& archive, const ArchiveRules& rules,
                               const std::function<void(Member&&)>& on_member, const core::StopFlag* stop) {
  std::error_code missing;
  if (!std::filesystem::is_regular_file(archive, missing) && !core::is_fault(missing.value())) {
    core::user_error("{}: no such archive: run download again", archive.string());
  }
  const OpenFile file(archive);
  WorkerProcess worker(arguments(archive.string(), rules), file.fd());
  const auto stopped = [&](std::span<std::byte> bytes) {
    const auto got = worker.receive(bytes, stop);
    if (got == WorkerProcess::Got::gone) died(archive.string(), worker.end());
    return got == WorkerProcess::Got::stopped;
  };
  for (;;) {
    MemberHeader header;
    if (stopped(bytes_of(header))) return {.stopped = true};
    if (header.name_bytes > 16 * limits::kMemberNameBytes || header.skip_bytes > limits::kMemberNameBytes ||
        header.bytes > rules.member_bytes)
      core::user_error("{}: the process that read it answers nonsense: the archive is hostile",
                       archive.string());
    Member member{
        .name = std::string(header.name_bytes, '\0'), .bytes = {}, .skip = {}, .offset = header.offset};
    member.more = header.more != 0;
    member.skip.resize(header.skip_bytes);
    if (stopped(std::as_writable_bytes(std::span(member.name)))) return {.stopped = true};
    if (stopped(std::as_writable_bytes(std::span(member.skip)))) return {.stopped = true};
    member.bytes.resize(header.bytes);
    if (stopped(member.bytes)) return {.stopped = true};
    if (header.kind == MemberHeader::Kind::done)
      return {.members = header.members, .passed_over = header.passed_over, .example = member.name};
    if (header.kind != MemberHeader::Kind::member) rethrow(header.kind, member.name);
    on_member(std::move(member));
  }
}

std::string extension_of(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  const std::size_t dot = name.find('.', slash == std::string_view::npos ? 0 : slash + 1);
  if (dot == std::string_view::npos) return "";
  std::string extension(name.substr(dot + 1));
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return extension;
}

std::optional<NameParts> name_parts(std::string_view name, const std::vector<std::string>& wanted) {
  const std::string whole = extension_of(name);
  std::string_view ending = whole;
  while (!ending.empty() && std::ranges::find(wanted, ending) == wanted.end()) {
    const std::size_t dot = ending.find('.');
    ending = dot == std::string_view::npos ? "" : ending.substr(dot + 1);
  }
  if (ending.empty()) return std::nullopt;
  return NameParts{name.substr(0, name.size() - whole.size() - 1),
                   name.substr(0, name.size() - ending.size() - 1), std::string(ending)};
}

}  // namespace microdit::ingest
