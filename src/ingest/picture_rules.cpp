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
  f.field("exif", exif,
          {.choices = {"ignore", "apply"},
           .help = "orientation in EXIF or XMP: ignore it (a TIFF is turned anyway), or turn the picture"});
  f.field("frames", frames,
          {.choices = {"first", "skip"},
           .help = "several frames (GIF, WebP, PNG) or pages (TIFF): take the first, or leave the picture out"});
}

core::Json PictureSection::facts() const {
  core::Json all = core::to_json(*this);
  const PictureSection plain;
  if (exif == plain.exif) all.erase("exif");
  if (frames == plain.frames) all.erase("frames");
  return all;
}

core::Json PictureSection::algorithms() const {
  core::Json rules = {{"decode", 4}, {"alpha", alpha}, {"grey16", grey16}};
  if (exif == "apply") rules["exif"] = exif;
  return rules;
}

image::DecodeRules PictureSection::decode_rules() const {
  image::DecodeRules rules;
  rules.max_pixels = limits::kPixels;
  rules.max_side = limits::kSide;
  rules.max_scans = limits::kJpegScans;
  rules.max_scan_pixels = limits::kJpegScanPixels;
  rules.drop_alpha = this->alpha == "drop";
  rules.clip_grey16 = this->grey16 == "clip";
  rules.apply_exif = this->exif == "apply";
  return rules;
}

}  // namespace microdit::ingest
