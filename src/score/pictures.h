// The pictures that are scored: of a folder, of a generate's output, or of a dataset.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "image/image.h"

namespace microdit::score {

/// An ordered list. Its order and its identity depend on what is there, not on who asks.
class Pictures {
 public:
  virtual ~Pictures() = default;
  virtual std::int64_t count() const = 0;
  /// Decoded. UserError names the file (or the sample) when it is no picture. Any thread may ask.
  virtual image::Image picture(std::int64_t i) const = 0;
  /// What was painted, or a dataset's first caption source; empty where nothing is known. One thread at a time.
  virtual std::string caption(std::int64_t i) const = 0;
  virtual std::filesystem::path folder() const = 0;
  /// For people: "1000 pictures of runs/x/images/000-a".
  virtual std::string text() const = 0;
  /// Which pictures they are: names, sizes and times of files; a dataset's manifest. SHA-256.
  virtual std::string identity() const = 0;
};

/// Whether `place` is, or names, a dataset's samples.
bool is_dataset(const std::string& place);
/// `place`: a folder that holds pictures, at any depth (of a folder that generate wrote, what its manifest names; never its grids); a
/// samples/ folder, or a dataset's name below MICRODIT_DATA/samples. `split` ("" = held_out): train, held_out or all, of datasets
/// alone. UserError: nothing there, no pictures, a split that is none.
std::unique_ptr<Pictures> open_pictures(const std::string& place, const std::string& split);

}  // namespace microdit::score
