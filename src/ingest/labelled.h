// Data sets that hold pixels and classes, not picture files with captions: CIFAR's batches, idx files, Parquet.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "core/stop_flag.h"
#include "ingest/records.h"

namespace microdit::ingest {

using TakeRecord = std::function<void(RawRecord&&)>;

/// Of a member of bytes: each of its records is a label and 3 x 32 x 32 values, planes of red, green and blue
/// (https://www.cs.toronto.edu/~kriz/cifar.html, binary version). UserError where the bytes are no whole records.
void cifar_records(const Member& batch, const TakeRecord& take);

/// Of a pair of idx files, unsigned bytes: pictures [n, rows, columns] of grey, labels [n] (http://yann.lecun.com/exdb/mnist).
void idx_records(const Member& pictures, const Member& labels, const TakeRecord& take);
/// The file of labels that belongs to a file of pictures: "train-labels-idx1-ubyte.gz"; "" where the name is none of pictures'.
std::string idx_labels_of(const std::string& pictures);

/// Rows of a Parquet file: `record.picture` names the column of encoded pictures, `record.label` that of classes ("" = none).
void parquet_records(const std::filesystem::path& file, const RecordSection& record, const TakeRecord& take,
                     const core::StopFlag& stop);

}  // namespace microdit::ingest
