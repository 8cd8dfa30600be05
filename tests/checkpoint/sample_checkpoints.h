// A small model's worth of tensors, cut over any number of ranks, and a scratch folder.
#pragma once

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "core/atomic_file.h"

namespace microdit::checkpoint {

namespace fs = std::filesystem;

class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "microdit_checkpoint_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Scratch() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

using Tensors = std::map<std::string, std::pair<std::vector<std::int64_t>, std::vector<float>>>;

/// Values depend on the step; sizes that no world size divides, one scalar, one empty tensor.
inline Tensors sample_tensors(std::int64_t step) {
  Tensors tensors = {{"weights/a", {{3, 5}, {}}},      {"weights/blocks.0.b", {{101}, {}}},
                     {"ema/a", {{3, 5}, {}}},          {"exp_avg/a", {{3, 5}, {}}},
                     {"weights/scalar", {{}, {}}},     {"weights/none", {{0, 4}, {}}},
                     {"buffers/mask_token", {{7}, {}}}};
  float value = static_cast<float>(step);
  for (auto& [name, tensor] : tensors) {
    std::size_t count = 1;
    for (const auto extent : tensor.first) count *= static_cast<std::size_t>(extent);
    tensor.second.resize(count);
    for (float& v : tensor.second) v = std::sin(value += 0.37f);
  }
  return tensors;
}

/// The contiguous share of every tensor that `rank` of `size` holds (often none of a small one).
inline std::vector<Part> parts_of(const Tensors& tensors, int rank, int size) {
  std::vector<Part> parts;
  for (const auto& [name, tensor] : tensors) {
    const auto count = static_cast<std::int64_t>(tensor.second.size());
    const std::int64_t begin = count * rank / size, end = count * (rank + 1) / size;
    parts.push_back({name, tensor.first, begin,
                     std::vector<float>(tensor.second.begin() + begin, tensor.second.begin() + end)});
  }
  return parts;
}

inline core::Json sample_state(std::int64_t step) {
  return {{"step", step}, {"stream", {{"epoch", 1}, {"position", 12345678901}}}, {"lr", 6.1e-4}};
}

inline void save(const fs::path& folder, std::int64_t step, comm::Communicator& comm,
                 std::int64_t keep_last = 0, std::int64_t keep_every = 0) {
  Writer writer(folder, comm);
  writer.start(step, parts_of(sample_tensors(step), comm.rank(), comm.size()), sample_state(step));
  writer.finish({keep_last, keep_every});
}

/// Whether every tensor reads back whole.
inline bool holds(const Reader& reader, const Tensors& tensors) {
  if (reader.tensors().size() != tensors.size()) return false;
  for (const auto& [name, tensor] : tensors) {
    std::vector<float> values(tensor.second.size());
    if (!reader.has(name) || reader.tensors().at(name) != tensor.first) return false;
    reader.read(name, 0, values);
    if (values != tensor.second) return false;
  }
  return true;
}

inline void flip_bit(const fs::path& file, std::uint64_t byte, int bit) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(byte));
  const char flipped = static_cast<char>(stream.get() ^ (1 << bit));
  stream.seekp(static_cast<std::streamoff>(byte));
  stream.put(flipped);
}

/// Names of all that lies in a folder, hidden or not.
inline std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace microdit::checkpoint
