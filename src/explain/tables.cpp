// The combinations are diffusion's own table; the meanings stand here, with defaults from the config.
#include "explain/tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/html.h"
#include "diffusion/objective_config.h"

namespace microdit::explain {
namespace {

using diffusion::Family;
using Rows = std::vector<std::vector<std::string>>;

/// `meaning(name)` for every name of a column: one without is a bug, so that the page grows with the table.
Rows meanings(const char* head, std::vector<std::string> Family::*column,
              std::vector<std::pair<std::string, std::string>> known) {
  for (const diffusion::ScheduleKind& more : diffusion::more_schedules())
    known.emplace_back(more.name, "a noise schedule that this program was built with");
  Rows rows = {{head, "what it is"}};
  for (const std::string& name : diffusion::all_names(column)) {
    const auto found = std::ranges::find(known, name, &std::pair<std::string, std::string>::first);
    core::check(found != known.end(), "explain has no words for {}", name);
    rows.push_back({name, found->second});
  }
  return rows;
}

}  // namespace

Chapter tables_chapter() {
  const diffusion::ObjectiveConfig c;
  Chapter chapter{.title = "What goes with what",
                  .words =
                      "<p>Keys of train's sections <code>objective:</code> and <code>sampling:</code> "
                      "(<code>rule</code> and <code>grid</code> of generate and evaluate, too). Of each list "
                      "the first is the default, of grids the rule's own; what is not in the table is "
                      "refused.</p>\n"};
  chapter.numbers = core::Json::array();
  Rows rows = {{"paths", "predictions", "time laws", "rules", "grids"}};
  for (const Family& family : diffusion::families()) {
    std::vector<std::string> row;
    for (const auto column :
         {&Family::paths, &Family::predictions, &Family::time_laws, &Family::rules, &Family::grids}) {
      row.push_back(fmt::format("{}", fmt::join(family.*column, ", ")));
    }
    rows.push_back(row);
    chapter.numbers.push_back({{"paths", family.paths},
                               {"predictions", family.predictions},
                               {"time_laws", family.time_laws},
                               {"rules", family.rules},
                               {"grids", family.grids}});
  }
  const auto own = [](const char* path) {
    diffusion::ObjectiveConfig config;
    config.path = path;
    config.prediction = config.family().predictions.front();
    return diffusion::settled(config);
  };
  const auto cosine = own("vp_cosine"), sigmoid = own("vp_sigmoid");
  chapter.tables = core::html_table(rows);
  chapter.tables += core::html_table(meanings(
      "path", &Family::paths,
      {{"edm", "alpha = 1, sigma = time: variance grows (Karras et al. 2022)"},
       {"vp_linear",
        "gamma falls on a straight line; alpha = sqrt(gamma), sigma = sqrt(1 - gamma) (Chen 2023)"},
       {"vp_cosine",
        fmt::format("gamma along a cosine to the power {:g}, from {:g} to {:g} of a quarter turn",
                    2 * cosine.gamma_tau, cosine.gamma_start, cosine.gamma_end)},
       {"vp_sigmoid", fmt::format("gamma along a sigmoid from {:g} to {:g}, temperature {:g}",
                                  sigmoid.gamma_start, sigmoid.gamma_end, sigmoid.gamma_tau)},
       {"linear",
        fmt::format(
            "DDPM's: betas from {:g} to {:g} on a line, gamma is the product of 1 - beta (Ho et al. 2020)",
            c.beta_start, c.beta_end)},
       {"scaled_linear", "the square roots of the betas lie on a line (latent diffusion)"},
       {"squaredcos_cap_v2", "gamma along a squared cosine (Nichol and Dhariwal 2021)"},
       {"flow", "alpha = 1 - t, sigma = t: a straight line from picture to noise (rectified flow)"}}));
  chapter.tables += core::html_table(meanings(
      "prediction", &Family::predictions,
      {{"edm",
        "what is missing from a multiple of x_t to the picture, scaled to variance 1 (preconditioning)"},
       {"eps", "the noise n"},
       {"x0", "the picture"},
       {"v", "alpha n - sigma x0 (Salimans and Ho 2022)"},
       {"velocity", "n - x0, the direction of the flow"}}));
  chapter.tables += core::html_table(meanings(
      "time law", &Family::time_laws,
      {{"log_normal",
        fmt::format("ln sigma is normal: mean p_mean = {:g}, deviation p_std = {:g}", c.p_mean, c.p_std)},
       {"uniform_discrete", "every whole step alike"},
       {"uniform", "every time alike; shift above 1 moves it towards noise (flow)"},
       {"logit_normal",
        fmt::format("logit of the time is normal: logit_mean = {:g}, logit_std = {:g} (Esser et al. 2024)",
                    c.logit_mean, c.logit_std)}}));
  chapter.tables += core::html_table(meanings(
      "rule", &Family::rules,
      {{"first", "one evaluation a step, along a straight line to the estimate of x0; no noise on the way"},
       {"ddim", "as first (Song et al. 2021); eta above 0 adds noise on the way"},
       {"euler", "as first, by the name that it has with flows and EDM"},
       {"heun", "second order: each step is corrected at its end, two evaluations (Karras et al. 2022)"},
       {"dpmpp_2m", "second order from the step before, one evaluation (DPM-Solver++ 2M, Lu et al. 2022)"},
       {"ddpm", "as first, but each step adds fresh noise (Ho et al. 2020)"},
       {"ancestral", "as ddpm, on every path"}}));
  chapter.tables += core::html_table(meanings(
      "grid", &Family::grids,
      {{"karras", "the ratio of noise to signal to the power 1 / rho falls evenly (Karras et al. 2022)"},
       {"linspace", "whole steps at even distances, both ends among them, rounded"},
       {"uniform", "even distances, not rounded"},
       {"leading", "whole steps at even distances from no noise on: the last of the path is left out"},
       {"trailing", "even distances from all noise on: the first of the path is left out"},
       {"shifted", "even distances, moved towards noise by shift"}}));
  chapter.tables += core::html_table(
      {{"weight", "what it is"},
       {"one", "the loss of what is predicted, as it is"},
       {"min_snr",
        fmt::format("an error of the picture counts SNR, but at most snr_gamma = {:g} (Hang et al. 2023)",
                    c.snr_gamma)},
       {"edm",
        "an error of the picture counts (sigma^2 + sigma_data^2) / (sigma sigma_data)^2, sigma the ratio of "
        "noise to signal"}});
  return chapter;
}

}  // namespace microdit::explain
