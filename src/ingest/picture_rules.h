// How foreign pictures become RGB: settings that change pixels, so they are recorded.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "image/decode.h"

namespace microdit::ingest {

/// The entry's section `pictures`.
struct PictureSection {
  std::string alpha = "white";  ///< white: composed on white; drop: the channel is ignored, as Pillow does
  std::string grey16 = "high";  ///< 16-bit grey: high: its high byte; clip: min(value, 255), as Pillow does
  std::string damaged_inside =
      "skip";  ///< a JPEG with bad data inside: skip, or keep what was decoded, as Pillow does
  std::string exif =
      "ignore";  ///< ignore: taken as it is stored (TIFF alone as its tag says); apply: turned as EXIF says
  std::string frames = "first";  ///< of several frames or pages: the first; skip: the picture is left out
  std::vector<std::string>
      leave_out{};  ///< kinds of pixels by the header (image::PixelKind): alpha, palette, deep
  void fields(core::Fields& f);
  bool leaves_out(std::string_view kind) const;
  /// For the facts' `algorithms`: {"alpha": "white", "grey16": "high", "exif": "ignore"} and the decoder's version.
  core::Json algorithms() const;
  /// The section's rules, with the pixel limits of ingest/limits.h.
  image::DecodeRules decode_rules() const;
};

}  // namespace microdit::ingest
