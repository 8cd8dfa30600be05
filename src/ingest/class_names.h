// The classes of a dataset: given, or found in the listing of its files.
#pragma once

#include <string>
#include <vector>

#include "ingest/catalogue.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// The names of classes 0, 1, 2 ...: record.classes; else, where `record.class` is a template over paths, what it makes of the raw files'
/// (of loose ones those that are pictures, failed ones included), sorted by bytes, as torchvision's ImageFolder has its folders; else none:
/// classes are numbers. A function of the raw folder and the entry alone, so that all tasks and ranks find the same. UserError: more than
/// limits::kClasses, or none.
std::vector<std::string> class_names(const CatalogueEntry& entry, const store::Manifest& raw);

}  // namespace microdit::ingest
