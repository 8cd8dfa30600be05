// Names of datasets to folders.
#include "core/dataset_folder.h"

#include "core/config.h"

namespace microdit::core {

std::filesystem::path dataset_folder(const std::string& kind, const std::string& dataset) {
  if (dataset.find('/') != std::string::npos) return dataset;
  return data_root() / kind / dataset;
}

}  // namespace microdit::core
