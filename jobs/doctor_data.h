// What doctor data's parts share: the summary in words, the pictures, the page.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "ingest/data_summary.h"
#include "ingest/drawn_rows.h"

namespace microdit::jobs {

/// A few samples for people to look at.
struct ContactSheet {
  std::vector<std::byte> png{};          ///< empty where nothing can be shown
  std::vector<ingest::DrawnRow> rows{};  ///< as shown, without their payload
  std::string how{};                     ///< which rows, and what of them
  std::string lacking{};  ///< why latents are not shown as pictures, and what to do; may be empty
};
/// Pictures of samples are decoded by a worker process, latents by the codec that their facts name, on the CPU. A picture that
/// cannot be decoded joins the damage.
ContactSheet draw_contact_sheet(ingest::DataSummary& summary);

/// What is counted, as {what, words}; the bins of its histograms, as {of what, histogram}.
std::vector<std::pair<std::string, std::string>> data_overview(const ingest::DataSummary& summary);
std::vector<std::pair<std::string, ingest::Histogram>> data_histograms(const ingest::DataSummary& summary);

/// "12.5 %"; empty of nothing.
std::string share_text(std::int64_t part, std::int64_t whole);
/// Text from a dataset as one line for a terminal: UTF-8, no control characters, at most so many bytes.
std::string printable(const std::string& text, std::size_t bytes);
/// "samples/NAME", "latents/NAME/RECIPE", by where the folder lies.
std::string data_name(const ingest::DataSummary& summary);

/// The page: a function of its arguments alone.
std::string data_page(const ingest::DataSummary& summary, const ContactSheet& sheet);

}  // namespace microdit::jobs
