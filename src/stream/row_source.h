// A source of samples as the stream sees it: a number of samples, and rows of them by index. Our own latents folders, MDS folders
// and synthetic data are sources; order, mixture, choice of captions and what replaces a bad row are the stream's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"

namespace microdit::stream {

/// One sample that is wanted, where it goes, and what became of it.
struct RowWish {
  std::int64_t sample = 0;       ///< in [0, num_samples) of the source
  std::int64_t position = 0;     ///< of the stream; with the seed it keys the choice among several captions
  bool drop_caption = false;     ///< the null condition is wanted: no caption is read, `text` is left alone
  std::byte* latents = nullptr;  ///< f16 [C, h, w]
  std::byte* text =
      nullptr;  ///< f16 [L, D]; or i32 [L] token ids where the source has no text rows; null = not wanted

  // Out:
  bool no_caption = false;  ///< dropped, or the sample has none of the wanted ones: `text` was left alone
  std::int32_t text_length = 0;    ///< tokens before padding; 0 without a caption
  std::int32_t class_number = -1;  ///< of the sample's class; -1 = it has none
  std::string* caption = nullptr;  ///< if given: the chosen caption's text (empty where there is none)
  std::exception_ptr
      bad;  ///< why the row could not be read, after a second try; the others are good all the same
};

/// What every source of a mix must agree on, and the stream needs to know.
struct RowShape {
  std::int64_t channels = 0;
  std::int64_t latent_size = 0;  ///< h = w
  std::int64_t text_length = 0;
  std::int64_t text_width = 0;
  bool tokens_only = false;  ///< `text` is token ids; the encoder runs in training
  std::size_t latents_bytes() const {
    return static_cast<std::size_t>(channels * latent_size * latent_size) * 2;
  }
  std::size_t text_bytes() const {
    return static_cast<std::size_t>(text_length) *
           (tokens_only ? 4 : static_cast<std::size_t>(text_width) * 2);
  }
};

class RowSource {
 public:
  virtual ~RowSource() = default;
  /// For messages: the folder.
  virtual std::string name() const = 0;
  /// Of the wanted split, after the filters. Neighbours (by index) lie beside one another on disk.
  virtual std::int64_t num_samples() const = 0;
  virtual const RowShape& shape() const = 0;
  /// As a latents folder's manifest has them: "codec", "text_encoder", "caption_sources", ...; members that are absent here
  /// are not compared with other sources'.
  virtual const core::Json& facts() const = 0;
  /// What a run that trains on it records and compares at resume: {"generation", "sha256"}, those that it has. The stream
  /// adds "rows": as many as it takes.
  virtual core::Json pin() const = 0;
  /// Reads the wishes, in any order and together where that saves reads. What is wrong with single rows is told in the wish;
  /// exceptions are for bugs. Called from several threads at once.
  virtual void read(std::span<RowWish> wishes) const = 0;
  /// What rows are read from, in the order of the samples; none where rows come from elsewhere than files that are read as they lie.
  virtual std::vector<std::filesystem::path> files() const { return {}; }
};

}  // namespace microdit::stream
