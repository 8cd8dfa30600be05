// The contact sheet: foreign pictures by a worker process, latents by their codec.
#include <fmt/ranges.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <memory>

#include "core/error.h"
#include "doctor_data.h"
#include "encoders/image_codec.h"
#include "eval/painter.h"
#include "image/encode.h"
#include "image/grid.h"
#include "ingest/picture_worker.h"
#include "ingest/progress.h"

namespace microdit::jobs {
namespace {

using ingest::DataSummary;
using ingest::DrawnRow;

constexpr std::int64_t kPictures = 48, kColumns = 8, kCell = 128;
constexpr std::size_t kBatch = 4;  // latents decoded at a time: what a large codec needs for them

/// Pictures with what stands beneath them.
class Cells {
 public:
  explicit Cells(ContactSheet& sheet) : sheet_(sheet) {}

  void add(image::Image&& picture, DrawnRow&& row) {
    pictures_.push_back(std::move(picture));
    captions_.push_back(row.captions.empty() ? "(no caption)" : row.captions.front().second);
    list(std::move(row));
  }
  /// Without a picture.
  void list(DrawnRow&& row) {
    row.payload = {};
    sheet_.rows.push_back(std::move(row));
  }
  void finish() {
    if (pictures_.empty()) return;
    sheet_.png = image::encode_png(image::grid(pictures_, captions_, {.columns = kColumns, .cell = kCell}));
  }

 private:
  ContactSheet& sheet_;
  std::vector<image::Image> pictures_;
  std::vector<std::string> captions_;
};

ingest::PictureSection rules_of(const DataSummary& summary) {
  const core::Json rules = summary.json.value("pictures", core::Json::object());
  return core::load<ingest::PictureSection>(
      core::ConfigTree::of_json(rules, (summary.folder / "facts.json").string() + ": pictures"));
}

void draw_samples(DataSummary& summary, Cells& cells) {
  // As long as precompute gives it: clean's seconds were another machine's.
  ingest::PictureWorker worker(rules_of(summary), ingest::limits::kSquaresSeconds);
  constexpr std::array<std::int64_t, 1> kSizes = {kCell};
  std::vector<ingest::DataDamage> damage;
  ingest::draw_rows(summary, kPictures, [&](DrawnRow&& row) {
    ingest::PictureResult result =
        ingest::naming(row.file, row.key, [&] { return worker.squares(row.payload, kSizes, true); });
    if (result.reason.empty()) return cells.add(std::move(result.squares.at(0)), std::move(row));
    damage.push_back(
        {row.file,
         fmt::format("the picture of '{}' cannot be decoded ({}{}{})", printable(row.key, 80), result.reason,
                     result.detail.empty() ? "" : ": ", printable(result.detail, 200)),
         summary.remedy(true)});
  });
  summary.damage.insert(summary.damage.end(), damage.begin(), damage.end());
}

std::shared_ptr<encoders::ImageCodec> find_codec(const DataSummary& summary) {
  const std::string origin = (summary.folder / "facts.json").string();
  if (!summary.json.contains("codec")) core::user_error("{}: names no codec", origin);
  return encoders::find_image_codec(
      core::load<encoders::CodecFacts>(core::ConfigTree::of_json(summary.json["codec"], origin + ": codec")));
}

class LatentsDecoder {
 public:
  LatentsDecoder(const encoders::ImageCodec& codec, const DataSummary& summary, Cells& cells)
      : codec_(codec),
        cells_(cells),
        progress_("doctor: decoded pictures", "latents", std::min(kPictures, summary.counts.rows)) {
    const std::int64_t side = ingest::drawn_size(summary.counts) / codec.downscale();
    shape_ = {codec.channels(), side, side};
  }

  void add(DrawnRow&& row) {
    if (row.shape != shape_)
      core::user_error("{}: latents of [{}], of their codec they would be [{}]", row.file,
                       fmt::join(row.shape, ", "), fmt::join(shape_, ", "));
    latents_.push_back(torch::from_blob(row.payload.data(), row.shape, torch::kHalf).to(torch::kFloat32));
    rows_.push_back(std::move(row));
    if (rows_.size() == kBatch) flush();
  }
  void flush() {
    if (rows_.empty()) return;
    const torch::NoGradGuard no_grad;
    std::vector<image::Image> pictures = eval::to_images(codec_.decode(torch::stack(latents_)));
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      cells_.add(std::move(pictures.at(i)), std::move(rows_[i]));
      progress_.item_done(true);
    }
    rows_.clear();
    latents_.clear();
  }

 private:
  const encoders::ImageCodec& codec_;
  Cells& cells_;
  ingest::Progress progress_;
  std::vector<std::int64_t> shape_;  ///< [C, h, w]
  std::vector<DrawnRow> rows_;
  std::vector<torch::Tensor> latents_;
};

void draw_latents(DataSummary& summary, ContactSheet& sheet, Cells& cells) {
  std::shared_ptr<encoders::ImageCodec> codec;
  try {
    codec = find_codec(summary);
  } catch (const core::UserError& missing) {
    sheet.lacking = missing.what();
    return ingest::draw_rows(summary, kPictures, [&](DrawnRow&& row) { cells.list(std::move(row)); });
  }
  LatentsDecoder decoder(*codec, summary, cells);
  ingest::draw_rows(summary, kPictures, [&](DrawnRow&& row) { decoder.add(std::move(row)); });
  decoder.flush();
}

std::string how_drawn(const DataSummary& summary, std::size_t drawn) {
  const std::string what = summary.facts.kind == ingest::DataKind::samples
                               ? "centre crops"
                               : fmt::format("latents of size {}, as their codec decodes them",
                                             ingest::drawn_size(summary.counts));
  return fmt::format(
      "{} of {} samples, spread evenly over all rows (row floor((2k+1)N/2n) of the N rows in the manifest's "
      "order; n = {}): {}",
      drawn, summary.counts.rows, std::min(kPictures, summary.counts.rows), what);
}

}  // namespace

ContactSheet draw_contact_sheet(DataSummary& summary) {
  ContactSheet sheet;
  Cells cells(sheet);
  if (summary.facts.kind == ingest::DataKind::samples)
    draw_samples(summary, cells);
  else
    draw_latents(summary, sheet, cells);
  cells.finish();
  sheet.how = how_drawn(summary, sheet.rows.size());
  return sheet;
}

}  // namespace microdit::jobs
