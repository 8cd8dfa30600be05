// data.html: one self-contained page, without scripts; every word of the dataset is escaped.
#include <fmt/format.h>

#include <algorithm>

#include "core/html.h"
#include "core/utf8.h"
#include "doctor_data.h"

namespace microdit::jobs {
namespace {

using core::escaped;
using ingest::DataSummary;

constexpr std::size_t kMostRows = 100;  // of a table
constexpr std::size_t kLongest = 2000;  // bytes of a caption

/// Text of the dataset as it may stand in the page.
std::string foreign(const std::string& text) {
  return escaped(core::shortened(core::with_valid_utf8(text), kLongest));
}

std::string left_off(std::size_t rows) {
  return rows > kMostRows ? fmt::format("<p>and {} more</p>\n", rows - kMostRows) : "";
}

std::string damage_html(const DataSummary& summary) {
  if (summary.damage.empty()) return "";
  std::vector<std::vector<std::string>> rows = {{"file", "what is wrong", "what to do"}};
  for (std::size_t i = 0; i < std::min(summary.damage.size(), kMostRows); ++i) {
    const ingest::DataDamage& damage = summary.damage[i];
    rows.push_back({printable(damage.file, kLongest), printable(damage.what, kLongest), damage.remedy});
  }
  return fmt::format(
             "<p class=\"verdict\">{} findings of damage; what follows counts the shards that can be "
             "read.</p>\n",
             summary.damage.size()) +
         core::html_table(rows) + left_off(summary.damage.size());
}

std::string overview_html(const DataSummary& summary) {
  std::string html = "<table>\n";
  for (const auto& [what, words] : data_overview(summary))
    html += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", escaped(what), escaped(words));
  return html + "</table>\n";
}

std::string caption_list(const ContactSheet& sheet) {
  std::string items;
  for (const ingest::DrawnRow& row : sheet.rows) {
    std::string captions;
    for (const auto& [source, text] : row.captions)
      captions += fmt::format("<br><i>{}</i> {}", foreign(source), foreign(text));
    items +=
        fmt::format("<li><code>{}</code> ({} x {}, {} row {}){}</li>\n", foreign(row.key), row.width,
                    row.height, foreign(row.file), row.row, captions.empty() ? "<br>no caption" : captions);
  }
  return "<details><summary>their captions as text</summary>\n<ol>\n" + items + "</ol></details>\n";
}

std::string sheet_html(const ContactSheet& sheet) {
  std::string html = "<h2>A few samples</h2>\n";
  if (!sheet.lacking.empty())
    html += "<p class=\"verdict\">The latents are not shown as pictures:</p>\n<pre>" +
            escaped(core::with_valid_utf8(sheet.lacking)) + "</pre>\n";
  if (sheet.rows.empty()) return html + "<p>None can be shown.</p>\n";
  html +=
      sheet.png.empty() ? "<p>" + escaped(sheet.how) + "</p>\n" : core::html_picture(sheet.png, sheet.how);
  return html + caption_list(sheet);
}

std::string bars_html(const std::string& of_what, const ingest::Histogram& histogram) {
  const std::int64_t total = histogram.total();
  if (total == 0) return "";
  std::int64_t most = 1;
  for (const auto& bin : histogram.bins()) most = std::max(most, bin.count);
  std::string html = fmt::format("<table>\n<tr><th>{}</th><th>{} in all</th><th></th><th></th></tr>\n",
                                 escaped(of_what), total);
  for (const auto& bin : histogram.bins())
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td style=\"width:20rem\"><div "
        "style=\"background:#4878a8;height:.8rem;"
        "width:{:.1f}%\"></div></td></tr>\n",
        escaped(bin.name), bin.count, share_text(bin.count, total),
        100. * static_cast<double>(bin.count) / static_cast<double>(most));
  return html + "</table>\n";
}

std::string histograms_html(const DataSummary& summary) {
  std::string html;
  for (const auto& [of_what, histogram] : data_histograms(summary)) html += bars_html(of_what, histogram);
  return html.empty() ? "" : "<h2>How large, how long</h2>\n" + html;
}

std::string skips_html(const DataSummary& summary) {
  if (summary.facts.kind != ingest::DataKind::samples) return "";
  std::string html = "<h2>Left out by clean</h2>\n";
  if (summary.skipped.empty()) return html + "<p>Nothing.</p>\n";
  std::vector<std::vector<std::string>> rows = {{"reason", "records", "share", "for example"}};
  const core::Json skips = summary.skipped.to_json();
  for (const auto& [reason, skip] : skips.items()) {
    const std::int64_t count = skip["count"].get<std::int64_t>();
    rows.push_back({printable(reason, kLongest), std::to_string(count), share_text(count, summary.records),
                    printable(skip["example"].get<std::string>(), kLongest)});
  }
  const std::string advice = summary.skipped.advice();
  return html + core::html_table(rows) +
         (advice.empty() ? "" : "<p class=\"verdict\">" + escaped(advice) + "</p>\n");
}

std::string failed_html(const DataSummary& summary) {
  if (summary.failed.empty()) return "";
  std::vector<std::vector<std::string>> rows = {{"item", "why"}};
  for (const auto& [item, reason] : summary.failed) {
    if (rows.size() > kMostRows) break;
    rows.push_back({printable(item, kLongest), printable(reason, kLongest)});
  }
  return "<h2>Items that failed</h2>\n" + core::html_table(rows) + left_off(summary.failed.size());
}

std::string settings_html(const DataSummary& summary) {
  return "<details><summary>settings</summary>\n<pre>" +
         escaped(summary.json.dump(2, ' ', false, core::Json::error_handler_t::replace)) +
         "</pre></details>\n";
}

}  // namespace

std::string data_page(const DataSummary& summary, const ContactSheet& sheet) {
  const std::string limits =
      "<p>Counted from the manifest and from the small columns of the shards; pictures, latents and rows of "
      "text were not "
      "read, but for the samples shown. <code>doctor verify</code> checks every byte.</p>\n";
  return core::html_page(core::with_valid_utf8(data_name(summary)),
                         damage_html(summary) + overview_html(summary) + sheet_html(sheet) +
                             histograms_html(summary) + skips_html(summary) + failed_html(summary) +
                             settings_html(summary) + limits);
}

}  // namespace microdit::jobs
