// The only door to the HDF5 library: write a whole file of contiguous datasets, or find where its columns lie.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "store/shard.h"

namespace microdit::store {

// String attributes of a shard's root group.
inline constexpr const char* kShardAttributes = "microdit";  ///< the stage's own JSON
inline constexpr const char* kShardColumnHashes =
    "microdit_columns";  ///< {column: xxh3-64 of all its bytes, hex}

/// Creates `path` with these datasets, in this order, and string attributes on the root group. A column without bytes gets
/// room alone. The bytes of the file are a function of the arguments: no times, fixed format version, fixed order.
/// SystemError on any failure; FaultError where a device failed.
void create_hdf5(const std::filesystem::path& path, const std::vector<const Column*>& columns,
                 const std::map<std::string, std::string>& attributes);
/// Adds the same to a file that create_hdf5 made.
void extend_hdf5(const std::filesystem::path& path, const std::vector<const Column*>& columns,
                 const std::map<std::string, std::string>& attributes);

struct Hdf5Scan {
  std::map<std::string, ColumnInfo> columns;
  std::map<std::string, std::string> attributes;
};
/// Where every dataset of the root group lies. UserError (names the file) when it is no HDF5 file, is
/// damaged, or holds anything else than contiguous datasets of our element types inside the file; what the
/// system says while it is read is input_error's (InputFault of EIO), in no words of the library.
Hdf5Scan scan_hdf5(const std::filesystem::path& path);

}  // namespace microdit::store
