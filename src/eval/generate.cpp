// Painting a list of prompts over ranks.
#include "eval/generate.h"

#include <algorithm>
#include <fstream>
#include <optional>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "eval/painter.h"
#include "image/decode.h"
#include "image/encode.h"
#include "image/grid.h"

namespace microdit::eval {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kGridPictures = 64;

/// One picture to paint.
struct Item {
  std::int64_t index = 0;
  std::string prompt;
  std::uint64_t seed = 0;
  fs::path file;
  core::Json settings;
};

std::vector<Item> make_items(const std::vector<std::string>& prompts, const GenerateConfig& config,
                             const fs::path& out, const TrainedRun& run) {
  std::vector<Item> items;
  for (const std::string& prompt : prompts) {
    for (std::int64_t k = 0; k < config.num_images; ++k) {
      Item item;
      item.index = static_cast<std::int64_t>(items.size());
      item.prompt = prompt;
      item.seed = static_cast<std::uint64_t>(config.seed + item.index);
      item.file = out / fmt::format("{:06d}.png", item.index);
      item.settings = {{"prompt", prompt}, {"seed", item.seed},      {"run", run.folder.filename().string()},
                       {"step", run.step}, {"weights", run.weights}, {"sampler", core::to_json(run.sampler)}};
      items.push_back(std::move(item));
    }
  }
  return items;
}

std::vector<std::byte> read_bytes(const fs::path& file) {
  const std::string text = core::read_text(file);
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

/// The picture that is already there, if it was painted with the same settings.
std::optional<image::Image> existing(const Item& item) {
  if (!fs::exists(item.file)) return std::nullopt;
  try {
    const auto bytes = read_bytes(item.file);
    const auto text = image::read_png_text(bytes);
    const auto found = text.find("microdit");
    if (found == text.end() || found->second != item.settings.dump()) return std::nullopt;
    return image::decode(bytes);
  } catch (const image::BadImage&) {
    return std::nullopt;  // a foreign or damaged file of that name: painted anew
  }
}

/// The form that pictures tools read: prompt, then settings in one line.
std::string parameters_text(const Item& item, const diffusion::SamplerConfig& sampler,
                            const image::Image& picture) {
  return fmt::format("{}\nSteps: {}, Sampler: EDM {}, CFG scale: {}, Seed: {}, Size: {}x{}", item.prompt,
                     sampler.steps, sampler.rule, sampler.guidance, item.seed, picture.width, picture.height);
}

/// Blocks of a fixed shape at fixed places of the list, so that a picture's bits do not depend on who else is
/// painted.
void paint_block(const std::vector<Item>& items, std::size_t first, std::size_t batch, TrainedRun& run,
                 const Painter& painter) {
  std::vector<std::string> prompts;
  std::vector<std::uint64_t> seeds;
  for (std::size_t i = first; i < first + batch; ++i) {
    const Item& item = items[std::min(i, items.size() - 1)];
    prompts.push_back(item.prompt);
    seeds.push_back(item.seed);
  }
  const auto pictures = painter.decode(painter.latents(*run.model, run.objective, prompts, seeds, run.sampler,
                                                       static_cast<std::int64_t>(batch)));
  for (std::size_t i = first; i < std::min(first + batch, items.size()); ++i) {
    const image::Image& picture = pictures[i - first];
    core::atomic_write(
        items[i].file,
        image::encode_png(picture, {{"parameters", parameters_text(items[i], run.sampler, picture)},
                                    {"microdit", items[i].settings.dump()}}));
  }
}

/// manifest.jsonl and grid.png, by rank 0 when all pictures are there.
void close(const std::vector<Item>& items, const fs::path& out) {
  std::string manifest;
  std::vector<image::Image> pictures;
  std::vector<std::string> captions;
  for (const Item& item : items) {
    core::Json line = item.settings;
    line["file"] = item.file.filename().string();
    manifest += line.dump() + "\n";
    if (pictures.size() < kGridPictures) {
      pictures.push_back(image::decode(read_bytes(item.file)));
      captions.push_back(item.prompt);
    }
  }
  core::atomic_write(out / "manifest.jsonl", manifest);
  core::atomic_write(out / "grid.png", image::encode_png(image::grid(pictures, captions)));
  core::log_info("{} pictures in {}, grid {}", items.size(), out.string(), (out / "grid.png").string());
}

}  // namespace

void GenerateConfig::fields(core::Fields& f) {
  f.field("num_images", num_images, {.min = 1, .max = 1e6, .help = "pictures per prompt"});
  f.field("seed", seed, {.min = 0, .help = "picture i of the list uses seed + i"});
  f.field("out", out, {.help = "folder; empty = RUN/images"});
  run.fields(f);
}

std::vector<std::string> read_prompts(const std::string& file) {
  if (!fs::exists(file)) core::user_error("--prompts {}: no such file", file);
  std::vector<std::string> prompts;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty() && line.front() != '#') prompts.push_back(line);
  }
  if (prompts.empty()) core::user_error("--prompts {}: no prompts in it", file);
  return prompts;
}

int generate(const std::string& run_folder, const std::vector<std::string>& prompts,
             const GenerateConfig& config, comm::Communicator& comm, const core::StopFlag& stop) {
  TrainedRun run = open_run(run_folder, config.run, comm);
  const Painter painter(run.facts, run.device);
  const fs::path out = config.out.empty() ? fs::path(run_folder) / "images" : fs::path(config.out);
  std::error_code failure;
  fs::create_directories(out, failure);
  if (failure)
    core::user_error("out={}: not a folder that can be made ({})", out.string(), failure.message());
  const std::vector<Item> items = make_items(prompts, config, out, run);
  const auto batch = static_cast<std::size_t>(config.run.batch_size);
  bool stopped = false;
  std::size_t painted = 0;
  for (std::size_t first = 0; first < items.size() && !stopped; first += batch) {
    if (static_cast<int>(first / batch) % comm.size() != comm.rank()) continue;
    const std::size_t last = std::min(first + batch, items.size());
    const bool there = std::all_of(items.begin() + static_cast<std::ptrdiff_t>(first),
                                   items.begin() + static_cast<std::ptrdiff_t>(last),
                                   [](const Item& item) { return existing(item).has_value(); });
    if (!there) paint_block(items, first, batch, run, painter);
    painted += last - first;
    core::log_info("painted {} of this rank's pictures ({} in all)", painted, items.size());
    stopped = stop.requested();
  }
  double anyone_stopped[] = {stopped ? 1.0 : 0.0};
  comm.all_reduce_max(anyone_stopped);  // also: all pictures are written
  if (anyone_stopped[0] > 0) return core::kRequeueMe;
  if (comm.rank() == 0) close(items, out);
  comm.barrier();
  return core::kDone;
}

}  // namespace microdit::eval
