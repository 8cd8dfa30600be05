// report.html: one self-contained page of a run: loss curve, sample grids, settings, numbers.
#pragma once

#include "train/run_folder.h"

namespace microdit::train {

/// (Re)writes runs/NAME/loss.png and report.html from what lies in the run folder: metrics.jsonl,
/// samples/*.png, images/grid.png, metrics.json, retrieval pictures, config.yaml. Missing pieces are left
/// out.
void write_report(const RunFolder& run);

}  // namespace microdit::train
