// report.html: one self-contained page of a run: loss curve, sample grids, settings, numbers.
#pragma once

#include "train/run_folder.h"

namespace microdit::train {

/// (Re)writes runs/NAME/loss.png, validation.png and report.html from what lies in the run folder: metrics.jsonl, samples/*.png,
/// images/latest, evaluation/* (or metrics.json), config.yaml. Missing pieces are left out. On top a sentence, where the
/// numbers of held-out data are far worse than those of training data.
void write_report(const RunFolder& run);

}  // namespace microdit::train
