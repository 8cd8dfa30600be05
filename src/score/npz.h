// numpy's .npz: a zip of .npy arrays, stored or deflated. Formats: numpy/lib/format.py (versions 1 to 3), APPNOTE.TXT 6.3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/input_file.h"
#include "core/zip_directory.h"

namespace microdit::score {

/// Row-major values with their shape ({} = one value).
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<double> values;
};

class NpzFile {
 public:
  /// UserError (file, what is wrong, what to do) when it is missing or no .npz.
  explicit NpzFile(const std::filesystem::path& path);
  bool has(const std::string& name) const;
  /// Of float64, float32, int64 or int32, little-endian, row-major or column-major. UserError: missing, damaged, another type, over
  /// Limits.
  Array array(const std::string& name) const;
  std::int64_t integer(const std::string& name) const;
  /// Bytes of a "|S" value.
  std::string text(const std::string& name) const;

 private:
  struct Npy;
  Npy read(const std::string& name) const;
  core::InputFile file_;
  core::ZipRecords records_;
};

/// Collects arrays, then writes the file aside and renames it. Equal arrays give equal bytes.
class NpzContents {
 public:
  void add(const std::string& name, const Array& array);       ///< float64
  void add(const std::string& name, std::int64_t value);       ///< int64
  void add(const std::string& name, const std::string& text);  ///< bytes: |S
  void write(const std::filesystem::path& path) const;

 private:
  std::map<std::string, std::vector<std::byte>> npys_;
};

}  // namespace microdit::score
