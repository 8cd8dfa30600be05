// The keys of the section `pictures`.
#include "ingest/picture_rules.h"

#include "ingest/limits.h"

namespace microdit::ingest {

void PictureSection::fields(core::Fields& f) {
  f.field("alpha", alpha, {.choices = {"white", "drop"}, .help = "compose on white, or ignore the channel"});
  f.field("grey16", grey16,
          {.choices = {"high", "clip"}, .help = "16-bit grey: its high byte, or min(value, 255)"});
  f.field("damaged_inside", damaged_inside,
          {.choices = {"skip", "keep"},
           .help = "a JPEG with bad data inside: leave it out, or keep what there is"});
}

core::Json PictureSection::algorithms() const {
  return {{"decode", 4}, {"alpha", alpha}, {"grey16", grey16}};
}

image::DecodeRules PictureSection::decode_rules() const {
  image::DecodeRules rules;
  rules.max_pixels = limits::kPixels;
  rules.max_side = limits::kSide;
  rules.max_scans = limits::kJpegScans;
  rules.max_scan_pixels = limits::kJpegScanPixels;
  rules.drop_alpha = this->alpha == "drop";
  rules.clip_grey16 = this->grey16 == "clip";
  return rules;
}

}  // namespace microdit::ingest
