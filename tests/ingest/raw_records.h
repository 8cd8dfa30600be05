// Members as an archive gives them, grouped.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ingest/records.h"

namespace microdit::ingest {

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline Member member(const std::string& name, const std::string& text = "x") {
  return {.name = name, .bytes = bytes_of(text), .skip = ""};
}

inline const RecordEndings kEndings = {.image = {"jpg", "png", "seg.jpg"},
                                       .caption = {"json", "txt"},
                                       .wanted = {"jpg", "json", "png", "seg.jpg", "txt"}};

inline std::vector<RawRecord> group(std::vector<Member> members) {
  std::vector<RawRecord> records;
  RecordGrouper grouper(kEndings, [&](RawRecord&& record) { records.push_back(std::move(record)); });
  for (Member& m : members) grouper.add(std::move(m));
  grouper.finish();
  return records;
}

}  // namespace microdit::ingest
