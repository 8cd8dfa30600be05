// The summary in words: the same in the text and on the page.
#include <fmt/format.h>

#include "core/dataset_folder.h"
#include "core/disk.h"
#include "core/utf8.h"
#include "doctor_data.h"

namespace microdit::jobs {
namespace {

using ingest::DataKind;
using ingest::DataSummary;

using Lines = std::vector<std::pair<std::string, std::string>>;

/// Adds to a list of words.
void also(std::string& text, const std::string& more) {
  text += (text.empty() ? "" : ", ") + more;
}

std::string split_name(const DataSummary& summary, std::uint8_t split) {
  if (split < summary.facts.split_names.size()) return printable(summary.facts.split_names[split], 40);
  return fmt::format("split {}", split);
}

std::string samples_text(const DataSummary& summary) {
  std::string splits;
  for (const auto& [split, rows] : summary.counts.splits)
    also(splits, fmt::format("{} {}", split_name(summary, split), rows));
  std::string text = fmt::format("{}", summary.rows);
  if (summary.counts.rows != summary.rows)
    text += fmt::format(" ({} of them can be read)", summary.counts.rows);
  if (!splits.empty()) text += ": " + splits;
  if (summary.facts.kind == DataKind::latents && summary.text_rows != summary.rows)
    text += fmt::format("; with text {}", summary.text_rows);
  return text;
}

std::string captions_text(const DataSummary& summary) {
  const ingest::DataCounts& counts = summary.counts;
  std::string text;
  for (std::size_t i = 0; i < summary.facts.caption_sources.size(); ++i) {
    const std::int64_t captions = i < counts.captions.size() ? counts.captions[i] : 0;
    also(text, fmt::format("{} {} ({} of the samples)", printable(summary.facts.caption_sources[i], 40),
                           captions, share_text(captions, counts.captioned_rows)));
  }
  return fmt::format("{}; without any {}", text.empty() ? "none" : text, counts.without_caption);
}

void add_latents(const DataSummary& summary, Lines& lines) {
  std::string sizes;
  for (const auto& [size, rows] : summary.counts.latents)
    also(sizes, fmt::format("{} ({}) of size {}", rows, share_text(rows, summary.counts.rows), size));
  lines.emplace_back("latents", sizes.empty() ? "none" : sizes);
  if (!summary.failed_pictures.empty())
    lines.emplace_back(
        "undecoded",
        fmt::format("{} pictures have no latents, although clean accepted them: {}",
                    summary.failed_pictures.total(), printable(summary.failed_pictures.text(), 1000)));
}

void add_skips(const DataSummary& summary, Lines& lines) {
  lines.emplace_back("records",
                     fmt::format("{} read by clean, {} kept, {} left out ({})", summary.records,
                                 summary.records - summary.skipped.total(), summary.skipped.total(),
                                 share_text(summary.skipped.total(), summary.records)));
  if (!summary.passed_over.empty()) lines.emplace_back("passed", printable(summary.passed_over.text(), 1000));
}

}  // namespace

std::string share_text(std::int64_t part, std::int64_t whole) {
  if (whole <= 0) return "-";
  return fmt::format("{:.1f} %", 100. * static_cast<double>(part) / static_cast<double>(whole));
}

std::string printable(const std::string& text, std::size_t bytes) {
  std::string line = core::shortened(core::with_valid_utf8(text), bytes);
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return line;
}

std::string data_name(const DataSummary& summary) {
  std::filesystem::path at = core::whole_path(summary.folder);
  std::string name = at.filename().string();
  for (int up = summary.facts.kind == DataKind::samples ? 1 : 2; up > 0; --up) {
    at = at.parent_path();
    if (at.has_filename()) name = at.filename().string() + "/" + name;
  }
  return name;
}

Lines data_overview(const DataSummary& summary) {
  Lines lines;
  lines.emplace_back("samples", samples_text(summary));
  lines.emplace_back("folder", fmt::format("generation {}: {} items, {} shards, {}", summary.generation,
                                           summary.items, summary.shards, core::bytes_text(summary.bytes)));
  if (!summary.failed.empty())
    lines.emplace_back("failed",
                       fmt::format("{} items: the folder was closed without them", summary.failed.size()));
  if (summary.facts.kind == DataKind::samples) add_skips(summary, lines);
  if (summary.facts.kind == DataKind::latents) add_latents(summary, lines);
  if (summary.counts.rows > 0)
    lines.emplace_back(
        "pictures",
        fmt::format("widest {}, highest {} pixels{}", summary.counts.widest, summary.counts.highest,
                    summary.facts.kind == DataKind::latents ? ", before they were encoded" : ""));
  lines.emplace_back("captions", captions_text(summary));
  if (!summary.lost_captions.empty())
    lines.emplace_back("lost", "captions of kept records: " + printable(summary.lost_captions.text(), 1000));
  for (const auto& [name, numbers] : summary.counts.columns)
    lines.emplace_back("column", fmt::format("{}: {}", printable(name, 80), numbers.text()));
  if (!summary.lost_columns.empty())
    lines.emplace_back(
        "NaN", "for what is no number that a double holds: " + printable(summary.lost_columns.text(), 1000));
  if (!summary.without_row.empty())
    lines.emplace_back("no row", "in a joined table: " + printable(summary.without_row.text(), 1000));
  if (summary.facts.kind == DataKind::samples)
    lines.emplace_back("longest", fmt::format("{} characters", summary.counts.longest));
  else if (summary.texts > 0)
    lines.emplace_back(
        "cut", fmt::format("{} of {} texts ({}) are longer than the {} tokens that the encoder sees; the "
                           "longest has {} (each text counts once a shard)",
                           summary.cut, summary.texts, share_text(summary.cut, summary.texts),
                           summary.facts.text_length, summary.longest));
  return lines;
}

std::vector<std::pair<std::string, ingest::Histogram>> data_histograms(const DataSummary& summary) {
  const bool samples = summary.facts.kind == DataKind::samples;
  std::vector<std::pair<std::string, ingest::Histogram>> all = {
      {"shorter side in pixels", summary.counts.side},
      {"width to height", summary.counts.aspect},
      {samples ? "characters of a caption" : "tokens of a text", summary.counts.length}};
  for (const auto& [name, numbers] : summary.counts.columns)
    all.emplace_back("column " + printable(name, 80), numbers.histogram());
  return all;
}

}  // namespace microdit::jobs
