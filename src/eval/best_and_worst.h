// The best and the worst of a retrieval as a picture, and their captions as text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "eval/eval_data.h"
#include "eval/painter.h"

namespace microdit::eval {

/// What was painted of one split's first samples, on every rank.
struct Painted {
  Painting painting;
  Piece truth;  ///< the samples whose captions were painted
};

/// FOLDER/NAME_best_and_worst.png: pairs (original latents, decoded | generated); and .jsonl beside it with the whole
/// captions, which the picture's font may lack. `ranks`: candidates nearer than the own sample. `note`: beneath.
void write_best_and_worst(const std::filesystem::path& folder, const std::string& name,
                          const Painted& painted, const std::vector<std::int64_t>& ranks,
                          std::int64_t candidates, const Painter& painter, const std::string& note);

}  // namespace microdit::eval
