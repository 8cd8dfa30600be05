// Rows of the table.
#include "eval/summary.h"

#include <fmt/format.h>

#include <cmath>

namespace microdit::eval {
namespace {

using core::Json;

std::string percent(double share) {
  return fmt::format("{:.3g} %", 100 * share);
}

/// A rank counted from 1.
std::string rank_text(double rank) {
  return rank == std::floor(rank) ? fmt::format("{:.0f}", rank) : fmt::format("{:.1f}", rank);
}

template <class Text>
std::string text_or_nothing(const std::optional<double>& value, const Text& text) {
  return value ? text(*value) : std::string();
}

}  // namespace

std::optional<double> number_at(const Json& json, const char* pointer) {
  const Json::json_pointer at(pointer);
  if (!json.contains(at) || !json.at(at).is_number()) return std::nullopt;
  return json.at(at).get<double>();
}

std::optional<double> loss_of(const Json& metrics, const std::string& column) {
  if (const auto found = number_at(metrics, ("/loss/" + column).c_str())) return found;
  const std::string split = metrics.value("eval_loss_split", "");
  if ((split == "train" ? "trained" : split) == column) return number_at(metrics, "/eval_loss");
  return std::nullopt;
}

std::string short_number(double value) {
  return std::abs(value) >= 1e4 && std::abs(value) < 1e15 ? fmt::format("{:.0f}", value)
                                                          : fmt::format("{:.4g}", value);
}

std::vector<SummaryRow> summary_rows(const Json& metrics) {
  std::vector<SummaryRow> rows;
  if (!metrics.is_object() || !metrics.contains("eval_loss")) return rows;
  const auto loss = [&](const char* column) {
    return text_or_nothing(loss_of(metrics, column), short_number);
  };
  rows.push_back(
      {"loss", "lower", loss("trained"), loss("held_out"), loss("untrained"), "",
       fmt::format(
           "mean denoising error at fixed noise over {} samples of a split; untrained: of "
           "predicting zeros, as a microdit does before its first step, on the same samples as held out",
           metrics.value("loss_samples", 0))});
  const auto either = [&](const char* name) {
    const auto held_out = number_at(metrics, (std::string("/retrieval/held_out/") + name).c_str());
    return held_out ? held_out : number_at(metrics, (std::string("/retrieval/trained/") + name).c_str());
  };
  const std::optional<double> candidates = either("candidates");
  if (!candidates) return rows;
  const auto row = [&](const char* key, const char* name, const char* better, double chance, const auto& text,
                       const std::string& meaning) {
    const auto of = [&](const char* split) {
      return text_or_nothing(number_at(metrics, fmt::format("/retrieval/{}/{}", split, key).c_str()), text);
    };
    rows.push_back({name, better, of("trained"), of("held_out"), "", text(chance), meaning});
  };
  const std::string count = rank_text(*candidates);
  row("top1", "top 1", "higher", 1 / *candidates, percent, "share of captions of rank 1");
  row("within_1_percent", "within 1 %", "higher", std::ceil(*candidates / 100) / *candidates, percent,
      fmt::format("share of captions whose rank is among the first 1 % of {}", count));
  row(
      "median_rank", "median rank", "lower", (*candidates - 1) / 2,
      [](double nearer) { return rank_text(nearer + 1); },
      fmt::format("1 = the own picture is the nearest, {} = the farthest", count));
  return rows;
}

std::string recital(const Json& metrics) {
  const auto trained = loss_of(metrics, "trained"), held_out = loss_of(metrics, "held_out"),
             untrained = loss_of(metrics, "untrained");
  const auto top_trained = number_at(metrics, "/retrieval/trained/top1"),
             top_held_out = number_at(metrics, "/retrieval/held_out/top1");
  const bool by_loss = trained && held_out && *held_out > 1.5 * *trained;
  const bool by_rank = top_trained && top_held_out && *top_trained > 0.2 && *top_held_out < *top_trained / 3;
  if (!by_loss && !by_rank) return "";
  std::string text = "It recites its training pictures and hardly generalises to held-out captions";
  std::string figures;
  if (trained && held_out)
    figures += fmt::format("loss {} on trained and {} on held-out samples", short_number(*trained),
                           short_number(*held_out));
  if (figures.size() > 0 && untrained && *held_out > *untrained)
    figures += fmt::format(", worse than the {} of predicting zeros", short_number(*untrained));
  if (by_rank)
    figures += fmt::format("{}top 1 {} and {}", figures.empty() ? "" : "; ", percent(*top_trained),
                           percent(*top_held_out));
  return text + ": " + figures + ".";
}

std::string settings_text(const Json& metrics) {
  const Json sampler = metrics.value("sampler", Json::object());
  return fmt::format("{}, {} steps, guidance {}; checkpoint step {}, {} weights", sampler.value("rule", ""),
                     sampler.value("steps", 0), sampler.value("guidance", 0.0), metrics.value("step", 0),
                     metrics.value("weights", "") == "ema" ? "averaged" : "raw");
}

}  // namespace microdit::eval
