// The rule of the best.
#include "train/validated.h"

namespace microdit::train {

bool BestWatch::add(std::int64_t step, double loss) {
  last_step_ = step;
  if (step == 0 || !(loss < best_)) {
    ++without_better_;
    return false;
  }
  best_ = loss;
  best_step_ = step;
  without_better_ = 0;
  return true;
}

core::Json BestWatch::to_json() const {
  core::Json json = {
      {"last_step", last_step_}, {"best_step", best_step_}, {"without_better", without_better_}};
  if (best_step_ >= 0) json["best"] = best_;  // JSON knows no infinity
  return json;
}

BestWatch BestWatch::from_json(const core::Json& json) {
  BestWatch watch;
  watch.last_step_ = json.at("last_step").get<std::int64_t>();
  watch.best_step_ = json.at("best_step").get<std::int64_t>();
  watch.without_better_ = json.at("without_better").get<std::int64_t>();
  if (watch.best_step_ >= 0) watch.best_ = json.at("best").get<double>();
  return watch;
}

}  // namespace microdit::train
