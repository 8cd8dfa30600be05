// Parquet files with pictures in a column, as the Hugging Face hub has data sets of pictures.
#pragma once

#include <filesystem>

#include "core/stop_flag.h"
#include "ingest/catalogue.h"
#include "ingest/labelled.h"

namespace microdit::ingest {

/// Every row of the file as a record "FILE/00000017", read in a worker: `record.picture` is the picture; of the cells "class" is
/// `record.label`, "column:X" a caption's column, and what `record.columns` names. UserError: no Parquet file, damaged, columns that are
/// missing or none such, limits (limits.h), a build without Arrow; InputFault; core::Stopped.
void parquet_records(const std::filesystem::path& file, const RecordSection& record, const TakeRecord& take,
                     const core::StopFlag& stop);

}  // namespace microdit::ingest
