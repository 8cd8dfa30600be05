// Rows of JSON: where they are, and what of each is wanted.
#include "tables/json_rows.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/json.h"
#include "tables/json_scanner.h"
#include "tables/limits.h"

namespace microdit::tables {
namespace {

constexpr std::size_t kShownNames = 20;

/// "a/b~1c" -> "a", "b/c".
std::vector<std::string> path_names(std::string_view path) {
  std::vector<std::string> names(1);
  for (std::size_t i = 0; i < path.size(); ++i) {
    const bool escape = path[i] == '~' && i + 1 < path.size() && (path[i + 1] == '0' || path[i + 1] == '1');
    if (path[i] == '/') {
      names.emplace_back();
    } else if (escape) {
      names.back() += path[++i] == '0' ? '~' : '/';
    } else {
      names.back() += path[i];
    }
  }
  return names;
}

/// What `path` leads to; nullptr where it leads nowhere.
const core::Json* at_path(const core::Json& row, const std::vector<std::string>& path) {
  const core::Json* value = &row;
  for (const std::string& name : path) {
    if (value->is_object()) {
      const auto found = value->find(name);
      if (found == value->end()) return nullptr;
      value = &*found;
    } else if (value->is_array()) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
      if (error != std::errc() || end != name.data() + name.size() || index >= value->size()) return nullptr;
      value = &(*value)[index];
    } else {
      return nullptr;
    }
  }
  return value;
}

class JsonRows {
 public:
  JsonRows(ByteReader& in, const RowRequest& request, const RowSink& sink)
      : in_(in),
        scanner_(in, request.origin),
        request_(request),
        sink_(sink),
        cells_(request.columns.size()) {
    for (const std::string& column : request.columns) paths_.push_back(path_names(column));
  }

  void lines() {
    for (std::string line; next_line(line);)
      if (line.find_first_not_of(" \t\r") != line.npos) give(line, true);
  }

  void document(const std::string& rows) {
    const auto names = rows == "." ? std::vector<std::string>() : path_names(rows);
    value_at(names);
    if (scanner_.next() != ByteReader::kEnd)
      scanner_.wrong("more behind the document's end; are these JSON lines?");
  }

 private:
  bool next_line(std::string& line) {
    line.clear();
    ++line_;
    for (std::string_view bytes = in_.at_hand(); !bytes.empty(); bytes = in_.at_hand()) {
      const std::size_t end = std::min(bytes.find('\n'), bytes.size());
      if (line.size() + end > limits::kRowBytes)
        core::user_error("{}: line {}: more than {} bytes", request_.origin, line_, limits::kRowBytes);
      line += bytes.substr(0, end);
      in_.skip(std::min(end + 1, bytes.size()));
      if (end < bytes.size()) return true;
    }
    return !line.empty();
  }

  void value_at(std::span<const std::string> names) {
    const int c = scanner_.next();
    if (names.empty()) return c == '[' ? list() : scanner_.wrong("no list is there; see `rows`");
    if (c != '{') scanner_.wrong(fmt::format("no object with '{}' is there; see `rows`", names[0]));
    in_.get();
    bool found = false;
    std::string others;
    for (std::size_t members = 0; scanner_.next() != '}'; ++members) {
      if (members > 0) scanner_.expect(',', "between members");
      const std::string name = scanner_.name();
      if (name != names[0]) {
        if (members < kShownNames) others += (others.empty() ? "" : ", ") + name;
        scanner_.value(nullptr);
        continue;
      }
      if (found) scanner_.wrong(fmt::format("'{}' comes twice", name));
      found = true;
      value_at(names.subspan(1));
    }
    in_.get();
    if (!found)
      scanner_.wrong(fmt::format("no '{}' is there (but {}); see `rows`", names[0],
                                 others.empty() ? "nothing" : others));
  }

  void list() {
    in_.get();
    std::string row;
    for (bool first = true; scanner_.next() != ']'; first = false) {
      if (!first) scanner_.expect(',', "between rows");
      row.clear();
      scanner_.value(&row);
      give(row, false);
    }
    in_.get();
  }

  void give(std::string_view text, bool is_line) {
    ++row_;
    const std::string origin = fmt::format("{}: row {}", request_.origin, row_);
    core::Json row;
    try {
      row = core::parse_foreign_json(text, origin, core::BigIntegers::as_text);
    } catch (const core::UserError& wrong) {
      if (!is_line || !request_.damaged) throw;
      return request_.damaged(wrong.what());
    }
    if (!row.is_object()) core::user_error("{}: no object, but {}", origin, row.type_name());
    for (std::size_t i = 0; i < paths_.size(); ++i) cells_[i] = cell(at_path(row, paths_[i]), i);
    sink_(cells_);
  }

  Value cell(const core::Json* value, std::size_t column) const {
    if (value == nullptr || value->is_null()) return {};
    if (value->is_string()) return value->get_ref<const std::string&>();
    if (value->is_boolean()) return value->get<bool>();
    if (value->is_number_float()) return value->get<double>();
    if (value->is_number_unsigned() && !std::in_range<std::int64_t>(value->get<std::uint64_t>()))
      return fmt::format("{}", value->get<std::uint64_t>());
    if (value->is_number_integer()) return value->get<std::int64_t>();
    core::user_error("{}: row {}: `{}` is {} {}: name one of its values ({}/{})", request_.origin, row_,
                     request_.columns[column], value->is_array() ? "a" : "an",
                     value->is_array() ? "list" : "object", request_.columns[column],
                     value->is_array() || value->empty() ? "0" : value->begin().key());
  }

  ByteReader& in_;
  detail::JsonScanner scanner_;
  const RowRequest& request_;
  const RowSink& sink_;
  std::vector<std::vector<std::string>> paths_;
  Row cells_;
  std::uint64_t row_ = 0, line_ = 0;
};

}  // namespace

void read_json_rows(ByteSource source, const std::string& rows, const RowRequest& request,
                    const RowSink& sink, const core::StopFlag& stop) {
  ByteReader in(std::move(source), stop);
  skip_mark(in, request.origin);
  JsonRows reader(in, request, sink);
  rows == "lines" ? reader.lines() : reader.document(rows);
}

}  // namespace microdit::tables
