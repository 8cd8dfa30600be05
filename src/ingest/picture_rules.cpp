// The keys of the section `pictures`.
#include "ingest/picture_rules.h"

#include <algorithm>

#include "core/error.h"
#include "ingest/limits.h"

namespace microdit::ingest {

/// Rises when the same bytes become other pixels, or none: 6 since large pictures of next to no bytes are left out.
constexpr int kDecode = 6;

void PictureSection::fields(core::Fields& f) {
  f.field("alpha", alpha, {.choices = {"white", "drop"}, .help = "compose on white, or ignore the channel"});
  f.field("grey16", grey16,
          {.choices = {"high", "clip"}, .help = "16-bit grey: its high byte, or min(value, 255)"});
  f.field("damaged_inside", damaged_inside,
          {.choices = {"skip", "keep"},
           .help = "a JPEG with bad data inside: leave it out, or keep what there is"});
  f.field("exif", exif,
          {.choices = {"ignore", "apply"},
           .help = "orientation in EXIF or XMP: ignore it (a TIFF is turned anyway), or turn the picture"});
  f.field(
      "frames", frames,
      {.choices = {"first", "skip"},
       .help = "several frames (GIF, WebP, PNG) or pages (TIFF): take the first, or leave the picture out"});
  f.field("leave_out", leave_out,
          {.help = "pictures whose header says alpha, palette or deep (16-bit grey): what cannot become a "
                   "JPEG as it is"});
  if (f.reading())
    for (const std::string& kind : leave_out)
      if (kind != "alpha" && kind != "palette" && kind != "deep")
        f.error("leave_out", fmt::format("'{}' is neither alpha, palette nor deep", kind));
}

bool PictureSection::leaves_out(std::string_view kind) const {
  return std::ranges::find(leave_out, kind) != leave_out.end();
}

core::Json PictureSection::algorithms() const {
  return {{"decode", kDecode}, {"alpha", alpha}, {"grey16", grey16}, {"exif", exif}};
}

image::DecodeRules PictureSection::decode_rules() const {
  image::DecodeRules rules;
  rules.max_pixels = limits::kPixels;
  rules.max_side = limits::kSide;
  rules.max_pixels_per_byte = limits::kPixelsPerByte;
  rules.max_scans = limits::kJpegScans;
  rules.max_scan_pixels = limits::kJpegScanPixels;
  rules.drop_alpha = this->alpha == "drop";
  rules.clip_grey16 = this->grey16 == "clip";
  rules.apply_exif = this->exif == "apply";
  return rules;
}

}  // namespace microdit::ingest
