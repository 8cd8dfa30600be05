// TIFF's samples as they are stored -> RGB by Pillow's rules: all kinds but Y'CbCr, which libtiff converts itself.
#pragma once

#include <tiffio.h>

#include "image/decode.h"

namespace microdit::image {

/// Whether its photometric interpretation is one that is read here: grey, colours, a palette, CMYK.
bool has_plain_samples(TIFF* tiff);

/// The first page as it is stored, not turned. BadImage: unsupported (a number or size of samples), damaged.
Image read_plain_samples(TIFF* tiff, const DecodeRules& rules);

}  // namespace microdit::image
