// Where a network's files end up: weights/NAME, whole or not there.
#pragma once

#include "core/json.h"
#include "ingest/catalogue.h"

namespace microdit::ingest {

/// Of the folder that download fills, and which later is weights/NAME with its records: what it was fetched from.
core::Json facts_of_weights(const CatalogueEntry& entry);

/// Whether weights/NAME is there; says so. A network that download did not make is left as it is. One of ours that lacks a file
/// counts as not there, and with `prepare` goes back to where download fetches to, so that this file alone is fetched.
/// UserError: it was fetched from another source, has another SHA-256 than the entry says, or is something else.
bool weights_are_there(const CatalogueEntry& entry, bool prepare);

/// The same without a word: another download may have put it there meanwhile.
bool are_placed(const CatalogueEntry& entry);

/// The closed folder becomes weights/NAME by one rename.
void place_weights(const CatalogueEntry& entry);

}  // namespace microdit::ingest
