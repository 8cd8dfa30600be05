// HTML as text.
#include "core/html.h"

#include "core/atomic_file.h"

namespace microdit::core {
namespace {

std::string base64(std::span<const std::byte> bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](std::size_t k) -> unsigned {
      return i + k < bytes.size() ? std::to_integer<unsigned>(bytes[i + k]) : 0u;
    };
    const unsigned word = at(0) << 16 | at(1) << 8 | at(2);
    out.push_back(kAlphabet[word >> 18]);
    out.push_back(kAlphabet[word >> 12 & 63]);
    out.push_back(i + 1 < bytes.size() ? kAlphabet[word >> 6 & 63] : '=');
    out.push_back(i + 2 < bytes.size() ? kAlphabet[word & 63] : '=');
  }
  return out;
}

constexpr const char* kPage = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222}
img {max-width: 100%; border: 1px solid #ddd}
figure {margin: 1rem 0}
figcaption {color: #666; font-size: .85rem}
table {border-collapse: collapse; font-size: .9rem; margin: 1rem 0}
th, td {border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top}
.verdict {border-left: 4px solid #dc5f14; background: #fdf3ec; padding: .6rem 1rem}
details, ol {font-size: .85rem; color: #444}
pre {background: #f6f6f6; padding: 1rem; overflow: auto; font-size: .8rem}
</style></head><body>
<h1>{title}</h1>
{body}</body></html>
)";

}  // namespace

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out.push_back(c);
  }
  return out;
}

std::string html_picture(const std::filesystem::path& file, const std::string& caption) {
  if (!std::filesystem::exists(file)) return "";
  const std::string bytes = read_text(file);
  return html_picture(std::as_bytes(std::span(bytes)), caption);
}

std::string html_picture(std::span<const std::byte> png, const std::string& caption) {
  return "<figure><img alt=\"" + escaped(caption) + "\" src=\"data:image/png;base64," + base64(png) +
         "\"><figcaption>" + escaped(caption) + "</figcaption></figure>\n";
}

std::string html_table(const std::vector<std::vector<std::string>>& rows) {
  std::string html = "<table>\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string cell = i == 0 ? "th" : "td";
    html += "<tr>";
    for (const std::string& text : rows[i]) html += "<" + cell + ">" + escaped(text) + "</" + cell + ">";
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

std::string html_page(const std::string& title, const std::string& body) {
  std::string html = kPage;
  const auto fill = [&](const std::string& hole, const std::string& text) {
    for (std::size_t at = 0; (at = html.find(hole, at)) != std::string::npos; at += text.size())
      html.replace(at, hole.size(), text);
  };
  fill("{title}", escaped(title));
  fill("{body}", body);
  return html;
}

}  // namespace microdit::core
