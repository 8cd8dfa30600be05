// What every worker process does: limits itself before it reads a foreign byte, and answers the stage over one socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "ingest/archives.h"

namespace microdit::ingest {

/// Closes what the stage had open and sets every limit but that of CPU; `memory`: bytes of address space. Ends the process where it cannot.
void limit_all(std::uint64_t memory);

/// Names in archives: libarchive converts them through the locale. Before limit_all, as it may warn.
void take_utf8_locale();

/// From now on, this many seconds more of CPU; the limit is the process's own, so it can be moved.
void limit_cpu(std::uint64_t seconds);
/// The same of a file, limits::kArchiveSecondsPerGiB, and its size.
std::uint64_t limit_file_cpu();

/// All bytes, or false at the end of the stage's.
bool read_all(void* to, std::size_t size);
/// Ends the process when nobody listens any more.
void write_all(const void* from, std::size_t size);

/// A member, or a piece of one (`more` follow).
void send_member(std::string_view name, std::string_view skip, std::span<const std::byte> bytes,
                 bool more = false, std::int64_t offset = -1);
/// Runs what sends the members of a file; then its summary, or why it failed. The exit code.
int answer(const std::string& name, const std::function<ArchiveSummary()>& work);

}  // namespace microdit::ingest
