// CSV, field by field.
#include "tables/csv_rows.h"

#include <algorithm>

#include "core/error.h"
#include "core/utf8.h"
#include "tables/limits.h"

namespace microdit::tables {
namespace {

constexpr std::size_t kShownBytes = 300;

class CsvReader {
 public:
  CsvReader(ByteReader& in, const CsvRules& rules, const std::string& origin)
      : in_(in), rules_(rules), origin_(origin) {}

  /// The next row that is not empty; false at the end. Its fields are num_fields() of field(i).
  bool next() {
    do {
      if (in_.peek() == ByteReader::kEnd) return false;
      line_ = next_line_;
      row_.clear();
      ends_.clear();
      while (read_field()) continue;
    } while (ends_.size() == 1 && row_.empty());
    return true;
  }
  std::size_t num_fields() const { return ends_.size(); }
  std::string_view field(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(row_).substr(begin, ends_[i] - begin);
  }
  [[noreturn]] void wrong(const std::string& what) const { core::user_error("{}", place(what)); }
  std::string place(const std::string& what) const {
    return fmt::format("{}: the row that begins at line {}: {}", origin_, line_, what);
  }

 private:
  /// Reads one field and what ends it; false where that was the row's end.
  bool read_field() {
    if (rules_.quotes && in_.peek() == '"') {
      in_.get();
      quoted();
      const int c = in_.peek();
      if (c != rules_.separator && c != '\n' && c != '\r' && c != ByteReader::kEnd)
        wrong("text behind a closing quote; `quotes: false` takes quotes as text");
    } else {
      plain();
    }
    ends_.push_back(row_.size());
    if (ends_.size() > limits::kCsvFields) wrong(fmt::format("more than {} fields", limits::kCsvFields));
    const int c = in_.get();
    if (c == '\r' && in_.peek() == '\n') in_.get();
    if (c != rules_.separator) ++next_line_;
    return c == rules_.separator;
  }

  void plain() {
    const char stops[] = {rules_.separator, '\n', '\r'};
    for (std::string_view bytes = in_.at_hand(); !bytes.empty(); bytes = in_.at_hand()) {
      const std::size_t end =
          std::min(bytes.find_first_of(std::string_view(stops, sizeof stops)), bytes.size());
      append(bytes.substr(0, end));
      in_.skip(end);
      if (end < bytes.size()) return;
    }
  }

  void quoted() {
    for (std::string_view bytes = in_.at_hand(); !bytes.empty(); bytes = in_.at_hand()) {
      const std::size_t end = std::min(bytes.find('"'), bytes.size());
      const std::string_view text = bytes.substr(0, end);
      append(text);
      next_line_ += static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
      in_.skip(end);
      if (end == bytes.size()) continue;
      in_.get();
      if (in_.peek() != '"') return;
      append("\"");
      in_.get();
    }
    wrong("a quote is not closed; is the file whole? `quotes: false` takes quotes as text");
  }

  void append(std::string_view bytes) {
    if (row_.size() + bytes.size() > limits::kRowBytes)
      wrong(fmt::format("more than {} bytes; is a quote not closed?", limits::kRowBytes));
    if (bytes.find('\0') != bytes.npos) wrong("a zero byte: this is no text");
    row_ += bytes;
  }

  ByteReader& in_;
  CsvRules rules_;
  const std::string& origin_;
  std::string row_;
  std::vector<std::size_t> ends_;
  std::uint64_t line_ = 1, next_line_ = 1;
};

/// Where the columns stand in the header.
std::vector<std::size_t> places_of(const CsvReader& header, const RowRequest& request) {
  std::vector<std::size_t> places;
  std::string names;
  for (std::size_t i = 0; i < header.num_fields(); ++i)
    names += (i == 0 ? "" : ", ") + std::string(header.field(i));
  for (const std::string& column : request.columns) {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < header.num_fields(); ++i)
      if (header.field(i) == column) found.push_back(i);
    if (found.size() != 1)
      core::user_error("{}: its header has {} column '{}', but: {}", request.origin,
                       found.empty() ? "no" : "more than one", column,
                       core::shortened(core::with_valid_utf8(names.substr(0, 4 * kShownBytes)), kShownBytes));
    places.push_back(found[0]);
  }
  return places;
}

}  // namespace

CsvRules csv_rules(const std::string& separator, bool quotes) {
  return {separator == "tab" ? '\t' : separator[0], quotes};
}

void read_csv_rows(ByteSource source, const CsvRules& rules, const RowRequest& request, const RowSink& sink,
                   const core::StopFlag& stop) {
  ByteReader in(std::move(source), stop);
  skip_mark(in, request.origin);
  CsvReader reader(in, rules, request.origin);
  if (!reader.next()) core::user_error("{}: is empty; a header line is needed", request.origin);
  const std::vector<std::size_t> places = places_of(reader, request);
  const std::size_t fields = reader.num_fields();
  Row cells(places.size());
  while (reader.next()) {
    if (reader.num_fields() != fields) {
      const std::string what = fmt::format("{} fields, the header has {}; see `separator` and `quotes`",
                                           reader.num_fields(), fields);
      if (!request.damaged) reader.wrong(what);
      request.damaged(reader.place(what));
      continue;
    }
    for (std::size_t i = 0; i < places.size(); ++i) {
      const std::string_view text = reader.field(places[i]);
      if (text.empty())
        cells[i] = std::monostate();
      else
        cells[i] = std::string(text);
    }
    sink(cells);
  }
}

}  // namespace microdit::tables
