// Data sets that hold pixels and classes, not picture files with captions: CIFAR's batches, idx files.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ingest/records.h"

namespace microdit::ingest {

using TakeRecord = std::function<void(RawRecord&&)>;

/// The encoded picture `index` of a file: its key is the file's path without its last ending and the number, as which it sorts.
RawRecord numbered_record(const std::string& file, std::int64_t index, std::vector<std::byte>&& picture);

/// Of a member of bytes: each of its records is a label and 3 x 32 x 32 values, planes of red, green and blue
/// (https://www.cs.toronto.edu/~kriz/cifar.html, binary version). UserError where the bytes are no whole records.
void cifar_records(const Member& batch, const TakeRecord& take);

/// Of a pair of idx files, unsigned bytes: pictures [n, rows, columns] of grey, labels [n] (http://yann.lecun.com/exdb/mnist). UserError
/// where they are none such, or more than `most` pictures.
void idx_records(const Member& pictures, const Member& labels, std::uint64_t most, const TakeRecord& take);
/// The file of labels that belongs to a file of pictures: "train-labels-idx1-ubyte.gz"; "" where the name is none of pictures'.
std::string idx_labels_of(const std::string& pictures);

}  // namespace microdit::ingest
