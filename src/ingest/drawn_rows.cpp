// Which rows are drawn depends on the manifest alone; rows within a shard are in no order of the archive's.
#include "ingest/drawn_rows.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "store/byte_rows.h"

namespace microdit::ingest {
namespace {

using store::ShardReader;

constexpr std::string_view kImages = ".images.h5";

class ShardDraw {
 public:
  ShardDraw(const DataSummary& summary, const store::ShardEntry& entry)
      : summary_(summary),
        shard_(summary.folder / entry.file),
        file_(entry.file),
        keys_(store::read_strings(shard_, "key")),
        widths_(shard_.read_as<std::int32_t>("width")),
        heights_(shard_.read_as<std::int32_t>("height")) {
    if (std::ssize(keys_) != entry.rows)
      core::user_error("{}: has {} keys for {} samples", shard_.path().string(), keys_.size(), entry.rows);
    if (summary.facts.kind == DataKind::samples) {
      pictures_.emplace(shard_, "image");
      if (pictures_->size() != entry.rows)
        core::user_error("{}: holds {} pictures for {} samples", shard_.path().string(), pictures_->size(),
                         entry.rows);
      for (const std::string& source : summary.facts.caption_sources)
        captions_.push_back(store::read_strings(shard_, "caption." + source));
    } else {
      column_ = fmt::format("latents_{}", drawn_size(summary.counts));
      places_ = shard_.read_as<std::int32_t>(column_ + "_row");
      open_text();
    }
  }

  /// Nothing when neither this row nor another that was not taken yet can be shown.
  std::optional<DrawnRow> take(std::int64_t wanted) {
    const std::optional<std::size_t> found = next(static_cast<std::size_t>(wanted));
    if (!found) return std::nullopt;
    const std::size_t row = *found;
    DrawnRow drawn{.file = file_,
                   .row = static_cast<std::int64_t>(row),
                   .key = keys_[row],
                   .captions = {},
                   .payload = {}};
    drawn.width = widths_[row];
    drawn.height = heights_[row];
    if (pictures_) {
      drawn.payload = pictures_->read(drawn.row);
      for (std::size_t i = 0; i < captions_.size(); ++i)
        if (!captions_[i][row].empty())
          drawn.captions.emplace_back(summary_.facts.caption_sources[i], captions_[i][row]);
    } else {
      const store::ColumnInfo& info = shard_.column(column_);
      if (info.dtype != core::DType::f16 || info.shape.size() != 4)
        core::user_error("{}: `{}` holds no latents", shard_.path().string(), column_);
      drawn.shape.assign(info.shape.begin() + 1, info.shape.end());
      drawn.payload = shard_.read(column_, places_[row], 1);
      add_text(row, drawn);
    }
    return drawn;
  }

 private:
  std::optional<std::size_t> next(std::size_t wanted) {
    taken_.resize(keys_.size(), false);
    for (std::size_t step = 0; step < keys_.size(); ++step) {
      const std::size_t row = (wanted + step) % keys_.size();
      if (taken_[row] || (!pictures_ && places_[row] < 0)) continue;
      taken_[row] = true;
      return row;
    }
    return std::nullopt;
  }

  /// The captions lie in the shard beside, if that could be read.
  void open_text() {
    const std::string name = file_.substr(0, file_.size() - kImages.size()) + ".text.h5";
    const auto found = std::ranges::find(summary_.readable, name, &store::ShardEntry::file);
    if (found == summary_.readable.end() || found->rows != std::ssize(keys_)) return;
    const ShardReader text(summary_.folder / name);
    texts_ = store::read_strings(text, "text_caption");
    entries_ = text.read_as<std::int32_t>("caption_rows");
    sources_ = text.read_as<std::uint8_t>("caption_source");
    owned_ = text.read_as<std::int64_t>("caption_offsets");
  }

  void add_text(std::size_t row, DrawnRow& drawn) const {
    if (owned_.empty()) return;
    for (auto i = static_cast<std::size_t>(owned_.at(row)); i < static_cast<std::size_t>(owned_.at(row + 1));
         ++i) {
      const std::string& text = texts_.at(static_cast<std::size_t>(entries_.at(i)));
      if (!text.empty()) drawn.captions.emplace_back(summary_.facts.caption_sources.at(sources_.at(i)), text);
    }
  }

  const DataSummary& summary_;
  ShardReader shard_;
  std::string file_;
  std::vector<std::string> keys_;
  std::vector<std::int32_t> widths_, heights_;
  std::vector<bool> taken_;
  // Of samples.
  std::optional<store::ByteRows> pictures_;
  std::vector<std::vector<std::string>> captions_;
  // Of latents; offsets and rows were checked when they were counted.
  std::string column_;
  std::vector<std::int32_t> places_, entries_;
  std::vector<std::string> texts_;
  std::vector<std::uint8_t> sources_;
  std::vector<std::int64_t> owned_;
};

bool shows_pictures(const DataSummary& summary, const store::ShardEntry& entry) {
  return entry.rows > 0 && (summary.facts.kind == DataKind::samples || entry.file.ends_with(kImages));
}

}  // namespace

std::int64_t drawn_size(const DataCounts& counts) {
  std::int64_t best = 0, most = 0;
  for (const auto& [size, rows] : counts.latents) {
    if (rows > most) best = size;
    most = std::max(most, rows);
  }
  return best;
}

void draw_rows(DataSummary& summary, std::int64_t most, const std::function<void(DrawnRow&&)>& take) {
  if (summary.facts.kind == DataKind::latents && drawn_size(summary.counts) == 0) return;
  const std::int64_t rows = summary.counts.rows, count = std::min(most, rows);
  std::int64_t first = 0, k = 0;  // the shard's first row; what is drawn next
  const auto place = [&] { return (2 * k + 1) * rows / (2 * count); };
  for (const store::ShardEntry& entry : summary.readable) {
    if (!shows_pictures(summary, entry)) continue;
    const std::int64_t end = first + entry.rows;
    try {
      if (k < count && place() < end) {
        ShardDraw shard(summary, entry);
        for (; k < count && place() < end; ++k)
          if (std::optional<DrawnRow> drawn = shard.take(place() - first)) take(std::move(*drawn));
      }
    } catch (const core::UserError& wrong) {
      summary.damage.push_back({entry.file, wrong.what(),
                                fmt::format("doctor verify {} says what is hit", summary.folder.string())});
      while (k < count && place() < end) ++k;
    }
    first = end;
  }
}

}  // namespace microdit::ingest
