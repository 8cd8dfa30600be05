// Rows do not depend on the pieces in which their bytes come; a table's file answers or is refused.
#include "fuzz/table_targets.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "core/hash.h"
#include "tables/csv_rows.h"
#include "tables/json_rows.h"
#include "tables/table_file.h"

namespace microdit::fuzz {
namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

tables::ByteSource in_pieces(std::string_view bytes, std::size_t piece) {
  return [bytes, piece](std::span<std::byte> out) mutable {
    const std::size_t size = std::min({bytes.size(), piece, out.size()});
    std::memcpy(out.data(), bytes.data(), size);
    bytes.remove_prefix(size);
    return size;
  };
}

/// All rows, and the refusal that ended them.
struct Outcome {
  std::vector<tables::Row> rows;
  std::string refusal;
  bool operator==(const Outcome&) const = default;
};

template <class Read>
Outcome outcome(Read read) {
  Outcome out;
  const tables::RowSink sink = [&](std::span<const tables::Value> row) {
    out.rows.emplace_back(row.begin(), row.end());
  };
  try {
    read(sink);
  } catch (const core::UserError& error) {
    out.refusal = error.what();
  }
  return out;
}

/// A table's file that holds one block and a tail, with the checksums that would keep everything else out.
std::string sealed(std::string_view block, std::string_view tail) {
  const auto append = [](std::string& out, std::uint64_t value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  std::string file(tables::kTableMagic);
  append(file, tables::kTableVersion);
  file += block;
  append(file, core::xxh3_64(std::as_bytes(std::span(block))));
  const std::uint64_t offset = file.size();
  std::string hashed = file.substr(0, tables::kTableHeadBytes) + std::string(tail);
  append(hashed, offset);
  append(hashed, tail.size());
  file += hashed.substr(tables::kTableHeadBytes);
  append(file, core::xxh3_64(std::as_bytes(std::span(hashed))));
  return file + std::string(tables::kTableEnd);
}

void ask(std::string_view bytes) {
  const int file = ::memfd_create("table", MFD_CLOEXEC);
  must(file >= 0 && ::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  try {
    const tables::TableFile table(fmt::format("/proc/self/fd/{}", file));
    for (const char* key : {"", "a", "b.jpg", "\xff"})
      for (const tables::Row& row : table.find(key)) must(row.size() == table.columns().size());
    table.verify();
  } catch (const core::UserError&) {
  }
  ::close(file);
}

}  // namespace

void json_rows(std::string_view bytes) {
  const core::StopFlag stop;
  for (const char* rows : {"lines", ".", "data", "a/b"}) {
    const auto read = [&](std::size_t piece) {
      return outcome([&](const tables::RowSink& sink) {
        tables::read_json_rows(in_pieces(bytes, piece), rows, {"x", {"a", "b/0", "c"}}, sink, stop);
      });
    };
    must(read(bytes.size() + 1) == read(3));
  }
}

void csv_rows(std::string_view bytes) {
  const core::StopFlag stop;
  for (const tables::CsvRules rules : {tables::CsvRules{}, tables::CsvRules{'\t', false}}) {
    const auto read = [&](std::size_t piece) {
      return outcome([&](const tables::RowSink& sink) {
        tables::read_csv_rows(in_pieces(bytes, piece), rules, {"x", {"a"}}, sink, stop);
      });
    };
    must(read(bytes.size() + 1) == read(3));
  }
}

void table_file(std::string_view bytes) {
  ask(bytes);
  if (bytes.size() < 2) return;
  const std::size_t block = std::min<std::size_t>(static_cast<unsigned char>(bytes[0]), bytes.size() - 1);
  ask(sealed(bytes.substr(1, block), bytes.substr(1 + block)));
}

}  // namespace microdit::fuzz
