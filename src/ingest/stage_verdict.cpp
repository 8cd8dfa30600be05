// Records and shards decide, never what one process believes to have done.
#include "ingest/stage_verdict.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <system_error>

#include "core/config.h"
#include "core/error.h"
#include "core/log.h"
#include "core/shell_line.h"
#include "ingest/leftovers.h"
#include "store/manifest_text.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxNamed = 20;  // failing items that are named one by one

/// What earlier lives left in a folder whose items are all finished, or failed for good.
void remove_leftovers(const fs::path& folder, const std::vector<store::FailedItem>& failed) {
  remove_temporaries(folder, [](std::string_view) { return true; });
  const auto is_failed = [&](std::string_view item) {
    return std::ranges::binary_search(failed, item, {}, &store::FailedItem::item);
  };
  remove_partial_files(folder, is_failed);  // whoever tries these again goes on
  const store::RecordNames names = store::record_names(folder);
  std::error_code ignored;
  for (const std::string& part : names.parts) fs::remove(folder / "records" / part, ignored);
  for (const std::string& item : names.failed)  // of items that the entry does not name any more
    if (!is_failed(item)) fs::remove(folder / "records" / (item + ".failed.json"), ignored);
}

std::size_t behind_digits(std::string_view text, std::size_t at) {
  return std::min(text.find_first_not_of("0123456789", at), text.size());
}

/// Where what begins at `at` ends, if it is one of libcurl's " after 5001 ms", " with timeout after 5001 milliseconds", " with 7 bytes
/// received", " with 7 out of 9 bytes received" and " with 7 bytes remaining to read"; else `at`.
std::size_t end_of_chance(std::string_view text, std::size_t at) {
  const auto skip = [&](std::size_t from, std::string_view word) {
    return from != text.npos && text.substr(from).starts_with(word) ? from + word.size() : text.npos;
  };
  const auto digits = [&](std::size_t from) {
    const std::size_t end = from == text.npos ? from : behind_digits(text, from);
    return end == from ? text.npos : end;
  };
  const std::size_t timeout = skip(at, " with timeout");
  const std::size_t time = digits(skip(timeout == text.npos ? at : timeout, " after "));
  for (const std::string_view unit : {" ms", " milliseconds", "ms", "milliseconds"})
    if (const std::size_t end = skip(time, unit);
        end != text.npos && (end == text.size() || !std::isalnum(static_cast<unsigned char>(text[end]))))
      return end;
  std::size_t count = digits(skip(at, " with "));
  if (const std::size_t all = digits(skip(count, " out of ")); all != text.npos) count = all;
  for (const std::string_view what : {" bytes received", " bytes remaining to read"})
    if (const std::size_t end = skip(count, what); end != text.npos) return end;
  return at;
}

/// "HOST does not answer" of "not asked for, as HOST does not answer: why"; other text as it is.
std::string without_why_of_silence(std::string said) {
  constexpr std::string_view kSilent = " does not answer: ", kNotAsked = "not asked for, as ";
  const std::size_t at = said.find(kSilent);
  if (at == said.npos || at == 0) return said;
  said.erase(at + kSilent.size() - 2);
  std::size_t begin = said.rfind(' ', at - 1);
  begin = begin == said.npos ? 0 : begin + 1;
  if (std::string_view(said).substr(0, begin).ends_with(kNotAsked))
    said.erase(begin - kNotAsked.size(), kNotAsked.size());
  return said;
}

/// A reason as it becomes part of the manifest, and so of its SHA-256: of a file in the data root it says where in there, of any
/// other the name alone; of a connection not how long it took and how far it came; of a silent host not who found it so.
std::string lasting(const std::string& said) {
  std::string reason;
  for (std::size_t at = 0; at < said.size();) {
    const std::size_t end = end_of_chance(said, at);
    if (end == at) reason += said[at];
    at = std::max(end, at + 1);
  }
  reason = without_why_of_silence(std::move(reason));
  for (const std::string& prefix : {core::data_root().string() + "/", std::string("file://")})
    for (std::size_t at = 0; (at = reason.find(prefix, at)) != std::string::npos;)
      reason.erase(at, prefix.size());
  for (std::size_t at = 0; (at = reason.find('/', at)) != std::string::npos; ++at) {
    if (at > 0 && std::string_view(" '\"`(=<").find(reason[at - 1]) == std::string_view::npos) continue;
    // Names may hold blanks: up to the next mark, or the next path.
    const std::size_t end =
        std::min({reason.find_first_of(":;,'\"`)>\n", at), reason.find(" /", at), reason.size()});
    reason.erase(at, reason.rfind('/', end - 1) + 1 - at);
  }
  return reason;
}

std::int64_t allowed_failures(const StagePlan& plan) {
  if (plan.max_failed_items >= 1) return static_cast<std::int64_t>(plan.max_failed_items);
  return static_cast<std::int64_t>(
      std::floor(plan.max_failed_items * static_cast<double>(plan.items.size())));
}

std::string first_names(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMaxNamed); ++i) text += "\n  " + names[i];
  if (names.size() > kMaxNamed) text += fmt::format("\n  and {} more", names.size() - kMaxNamed);
  return text;
}

std::string named(const std::vector<store::FailedItem>& failed) {
  std::vector<std::string> lines;
  for (const store::FailedItem& item : failed)
    lines.push_back(fmt::format("{}: {} ({} attempts)", item.item, item.reason, item.attempts));
  return first_names(lines);
}

/// Leaves behind a record that the next life passes over, and the exit code that starts it on another node.
[[noreturn]] void end_as_fault(const StagePlan& plan, std::vector<store::FailedItem> failed) {
  std::erase_if(failed, [](const store::FailedItem& item) { return !item.fault; });
  std::vector<std::string> ways;
  for (const store::FailedItem& item : failed)
    if (std::string way = way_out(plan, item.reason); !way.empty()) ways.push_back(std::move(way));
  core::fault_error(
      "{}: {} items could not be read, all others of this share are done:{}\nthe same command tries these "
      "alone (max_failed_items does not count them). A file that no machine can read any more: put it back "
      "where it lies in the entry's source, or take it out of the source{}{}",
      plan.name, failed.empty() ? "some" : std::to_string(failed.size()),
      failed.empty() ? " they are named above" : named(failed),
      ways.empty() ? "" : "; one of ours:", first_names(ways));
}

void refuse(const StagePlan& plan, const std::vector<std::string>& unknown) {
  if (unknown.empty()) return;
  core::user_error(
      "{}: {} holds {} items that the entry does not name (any more, or as this version of microdit names "
      "them): {}\nname their source again; or leave them out: remove each one's {}/ITEM.json and its files "
      "(named after it{}); or choose another folder (name)",
      plan.name, plan.folder.string(), unknown.size(), first_names(unknown),
      (plan.folder / store::kRecordsFolder).string(),
      unknown.size() > kMaxNamed ? "; then the same command names the next" : "");
}

}  // namespace

void refuse_unknown(const StagePlan& plan) {
  std::vector<std::string> expected, unknown;
  for (const store::Item& item : plan.items) expected.push_back(item.name);
  std::ranges::sort(expected);
  std::ranges::set_difference(store::record_names(plan.folder).items, expected, std::back_inserter(unknown));
  refuse(plan, unknown);
}

std::string way_out(const StagePlan& plan, const std::string& reason) {
  const std::size_t end = reason.rfind(": cannot be ");
  if (end == std::string::npos) return "";
  const fs::path file = fs::path(reason.substr(0, end)).lexically_normal();
  const fs::path place = file.lexically_relative(core::data_root().lexically_normal());
  const std::vector<fs::path> parts(place.begin(), place.end());  // KIND, NAME, in latents RECIPE, the file
  std::string item = file.filename().string(), maker;
  if (parts.size() == 3 && parts[0] == "raw") {
    maker = "download";
  } else if (parts.size() == 3 && parts[0] == "samples") {
    maker = "clean";
    item = item.substr(0, item.rfind('-'));
  } else if (parts.size() == 4 && parts[0] == "latents") {
    maker = "precompute";
    item = file.stem().string();
  } else {
    return "";
  }
  const fs::path record = file.parent_path() / "records" / (item + ".json");
  return fmt::format("{} - then run {}{} again",
                     core::shell_line({"rm", "-f", file.string(), record.string()}), maker,
                     maker == plan.name ? "" : " and " + plan.name);
}

std::string judge_folder(const StagePlan& plan, store::StageFolder& folder, const OwnItems& own,
                         const core::StopFlag& stop) {
  const auto sum = [&](const store::Record& record) {
    try {
      plan.sum(record);
    } catch (const core::Json::exception& wrong) {
      const std::string file = (plan.folder / "records" / (record.item + ".json")).string();
      core::user_error(
          "{}: its details are none of {}'s ({}); to make the item again: {} - then run {} again", file,
          plan.name, wrong.what(), core::shell_line({"rm", "-f", file}), plan.name);
    }
  };
  std::optional<store::Standing> standing = folder.survey(plan.items, stop, sum);
  if (!standing) return "stopped";
  if (!standing->refused.empty()) core::user_error("{}:{}", plan.name, first_names(standing->refused));
  refuse(plan, standing->unknown);
  const auto failed = static_cast<std::int64_t>(standing->failed.size());
  if (!standing->pending.empty()) {
    if (failed > 0) core::log_warn("{}: {} items failed:{}", plan.name, failed, named(standing->failed));
    core::log_info("{}: this share is done; {} waits for {} more items (of other tasks or calls)", plan.name,
                   plan.folder.string(), standing->pending.size());
    if (own.unreadable) end_as_fault(plan, standing->failed);
    return own.failed ? "failed" : "waiting";
  }
  if (own.unreadable) end_as_fault(plan, standing->failed);
  if (const auto unreadable = std::ranges::count_if(standing->failed, &store::FailedItem::fault);
      unreadable > 0) {
    core::log_warn("{}: {} waits for {} items that another task could not read:{}", plan.name,
                   plan.folder.string(), unreadable, named(standing->failed));
    return own.failed ? "failed" : "waiting";
  }
  if (failed > allowed_failures(plan)) {
    core::log_error(
        "{}: {} of {} items failed:{}\nmend their sources and run the same command again (it tries these "
        "alone){}",
        plan.name, failed, plan.items.size(), named(standing->failed),
        plan.needs_all ? "" : fmt::format(", or close the folder without them: max_failed_items={}", failed));
    return own.failed ? "failed" : "waiting";
  }
  if (standing->done == 0)
    core::user_error("{}: none of {} items could be made:{}", plan.name, plan.items.size(),
                     named(standing->failed));
  plan.check();
  const std::string names = named(standing->failed);
  for (store::FailedItem& item : standing->failed) item.reason = lasting(item.reason);
  const std::optional<std::int64_t> generation = folder.close(*standing, plan.before_visible);
  if (!generation) return "stopped";
  for (const store::FailedItem& item : standing->failed) plan.discard(item);
  remove_leftovers(folder.path(), standing->failed);
  if (failed > 0) core::log_warn("{}: closed without {} items that failed:{}", plan.name, failed, names);
  core::log_info("{}: {} is complete (generation {})", plan.name, plan.folder.string(), *generation);
  return "complete";
}

}  // namespace microdit::ingest
