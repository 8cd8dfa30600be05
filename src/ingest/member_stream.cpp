// Headers, then the bytes that they announce; how a worker that says no more has ended.
#include "ingest/member_stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/error.h"
#include "ingest/worker_messages.h"

namespace microdit::ingest {
namespace {

[[noreturn]] void rethrow(MemberHeader::Kind kind, const std::string& text) {
  if (kind == MemberHeader::Kind::user_error) throw core::UserError(text);
  if (kind == MemberHeader::Kind::fault) throw core::InputFault(text);
  throw core::SystemError(text);
}

[[noreturn]] void died(const std::string& name, const WorkerEnd& end) {
  if (end.kind == WorkerEnd::Kind::killed)  // from outside: no verdict on the file
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
      "{}: the process that read it died of it ({}): the file is hostile or broken; take it from another "
      "source, or repack it",
      name, end.words);
}

}  // namespace

OpenFile::OpenFile(const std::filesystem::path& path) {
  std::error_code missing;
  const bool is_file = std::filesystem::is_regular_file(path, missing) || core::is_fault(missing.value());
  if (is_file) fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (!is_file || (fd_ < 0 && errno == ENOENT))
    core::user_error("{}: no such archive: run download again", path.string());
  if (fd_ < 0) core::input_error(errno, "{}: cannot be opened", path.string());
}

OpenFile::~OpenFile() {
  ::close(fd_);
}

ArchiveSummary receive_members(WorkerProcess& worker, const std::string& name, const MemberBounds& bounds,
                               const std::function<void(Member&&)>& on_member, const core::StopFlag* stop) {
  const auto stopped = [&](std::span<std::byte> bytes) {
    const auto got = worker.receive(bytes, stop);
    if (got == WorkerProcess::Got::gone) died(name, worker.end());
    return got == WorkerProcess::Got::stopped;
  };
  for (;;) {
    MemberHeader header;
    if (stopped(bytes_of(header))) return {.stopped = true};
    if (header.name_bytes > bounds.name_bytes || header.skip_bytes > limits::kMemberNameBytes ||
        header.bytes > bounds.bytes)
      core::user_error("{}: the process that read it answers nonsense: the file is hostile", name);
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

}  // namespace microdit::ingest
