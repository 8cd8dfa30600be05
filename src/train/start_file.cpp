// What diffusers' save_pretrained leaves: model_index.json of a pipeline, diffusion_pytorch_model.* of a network.
#include "train/start_file.h"

#include "core/error.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

fs::path network_file(const fs::path& folder) {
  for (const char* ending : {".safetensors", ".bin"}) {
    const fs::path file = folder / (std::string("diffusion_pytorch_model") + ending);
    if (fs::is_regular_file(file)) return file;
    if (const fs::path index = file.string() + ".index.json"; fs::exists(index))
      core::user_error(
          "init.from={}: its weights lie in several files; make one of them: "
          "model.save_pretrained(FOLDER, max_shard_size=\"1TB\")",
          folder.string());
  }
  return {};
}

}  // namespace

fs::path start_file(const std::string& from) {
  if (from.empty() || fs::is_regular_file(from)) return from;
  if (const fs::path file = network_file(from); !file.empty()) return file;
  if (!fs::exists(fs::path(from) / "model_index.json")) return {};
  for (const char* part : {"unet", "transformer"})
    if (const fs::path file = network_file(fs::path(from) / part); !file.empty()) return file;
  return {};
}

}  // namespace microdit::train
