// The only door to the HDF5 library: write a whole file of contiguous datasets, or find where its columns lie.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "store/shard.h"

namespace microdit::store {

/// Creates `path` with these datasets, in this order, and string attributes on the root group. The bytes of
/// the file are a function of the arguments: no times, fixed format version, fixed order. SystemError on any
/// failure.
void write_hdf5(const std::filesystem::path& path, const std::vector<const Column*>& columns,
                const std::map<std::string, std::string>& attributes);

struct Hdf5Scan {
  std::map<std::string, ColumnInfo> columns;
  std::map<std::string, std::string> attributes;
};
/// Where every dataset of the root group lies. UserError (names the file) when it is no HDF5 file, is
/// damaged, or holds anything else than contiguous datasets of our element types inside the file.
Hdf5Scan scan_hdf5(const std::filesystem::path& path);

}  // namespace microdit::store
