// Reading rows of a latents folder: samples to shards and rows, captions chosen, all requests of a batch read together.
#include <algorithm>
#include <cstring>
#include <deque>
#include <numeric>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "stream/int8_text.h"
#include "stream/latents_source.h"

namespace microdit::stream {

using store::LatentFile;

/// Text that is not stored as the batch wants it, between reading and converting.
struct WideText {
  std::size_t wish = 0;
  std::vector<std::int8_t> values;
  std::vector<float> scales;
};

namespace {

/// A row of a column of texts, of which `offsets` says where each begins and ends; nothing where that leaves the column.
std::optional<std::string_view> text_at(std::span<const std::byte> offsets, std::span<const std::byte> texts,
                                        std::int64_t row) {
  std::int64_t ends[2] = {-1, -1};
  if (static_cast<std::size_t>(row + 2) * sizeof ends[0] <= offsets.size())
    std::memcpy(ends, &offsets[static_cast<std::size_t>(row) * sizeof ends[0]], sizeof ends);
  if (ends[0] < 0 || ends[1] < ends[0] || ends[1] > static_cast<std::int64_t>(texts.size()))
    return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(texts.data()) + ends[0],
                          static_cast<std::size_t>(ends[1] - ends[0]));
}

}  // namespace

struct LatentsSource::Scratch {
  std::deque<FileName> files;                         // of all shards; requests point to them
  std::deque<std::shared_ptr<const ShardRows>> rows;  // their hashes, likewise
  std::deque<WideText> wide;
  std::vector<RowRequest> requests;
  std::vector<std::int64_t> row_in_shard;  // of each wish
};

std::shared_ptr<const ShardRows> LatentsSource::rows_of(std::size_t shard, const FileName& images,
                                                        const FileName& text) const {
  if (auto found = cache_->find(shard)) return found;
  const store::IndexedShard& s = index_.shards[shard];
  std::shared_ptr<const ShardRows> rows;
  try {
    rows = std::make_shared<ShardRows>(
        read_shard_rows(index_, s, filter_, *files_->open(images), *files_->open(text)));
  } catch (const std::runtime_error&) {
    rows = std::make_shared<ShardRows>(
        read_shard_rows(index_, s, filter_, *files_->reopen(images), *files_->reopen(text)));
  }
  cache_->add(shard, rows);
  return rows;
}

void LatentsSource::read(std::span<RowWish> wishes) const {
  std::vector<std::size_t> order(wishes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return wishes[a].sample < wishes[b].sample; });
  Scratch scratch;
  scratch.row_in_shard.assign(wishes.size(), -1);
  for (std::size_t begin = 0; begin < order.size();) {
    const std::int64_t sample = wishes[order[begin]].sample;
    core::check(sample >= 0 && sample < num_samples_, "sample {} of {}", sample, num_samples_);
    const auto after = std::upper_bound(first_.begin(), first_.end(), sample);
    const auto shard = static_cast<std::size_t>(after - first_.begin()) - 1;
    std::size_t end = begin;
    while (end < order.size() && wishes[order[end]].sample < *after) ++end;
    read_of_shard(shard, std::span(order).subspan(begin, end - begin), wishes, scratch);
    begin = end;
  }
  reader_.read(scratch.requests);
  for (const RowRequest& request : scratch.requests)
    if (request.bad && !wishes[request.wish].bad) wishes[request.wish].bad = named(request, scratch);
  finish_text(scratch, wishes);
}

// A shard whose small columns cannot be read has none of its rows.
void LatentsSource::read_of_shard(std::size_t shard, std::span<const std::size_t> order,
                                  std::span<RowWish> wishes, Scratch& scratch) const {
  const FileName& images = scratch.files.emplace_back(file(shard, LatentFile::images));
  const FileName& text = scratch.files.emplace_back(file(shard, LatentFile::text));
  std::vector<std::pair<std::size_t, std::int64_t>> captions;
  try {
    const ShardRows& rows = *scratch.rows.emplace_back(rows_of(shard, images, text));
    const auto column = static_cast<std::size_t>(latents_);
    for (const std::size_t i : order) {
      RowWish& wish = wishes[i];
      const auto k = static_cast<std::size_t>(wish.sample - first_[shard]);
      const std::uint32_t place = rows.latents_row[k];
      scratch.row_in_shard[i] = rows.rows[k];
      wish.class_number = rows.classes.empty() ? -1 : rows.classes[k];
      scratch.requests.push_back(
          {&images, index_.shards[shard].places[column].offset + place * shape_.latents_bytes(),
           shape_.latents_bytes(), wish.latents, options_.verify ? &rows.latents_hashes[place] : nullptr, i,
           nullptr, false});
      const std::uint32_t begin = rows.caption_offsets[rows.rows[k]],
                          end = rows.caption_offsets[rows.rows[k] + 1];
      const std::int64_t chosen =
          wish.drop_caption ? -1
                            : choice_.choose(std::span(rows.caption_source).subspan(begin, end - begin),
                                             options_.seed, wish.position);
      wish.no_caption = chosen < 0;
      wish.text_length = 0;
      if (chosen < 0) continue;
      const std::int64_t row = rows.caption_rows[begin + static_cast<std::size_t>(chosen)];
      wish.text_length = rows.text_length[static_cast<std::size_t>(row)];
      if (wish.text) ask_for_text(shard, row, i, rows, wish, scratch);
      if (wish.caption) captions.emplace_back(i, row);
    }
    if (!captions.empty()) add_captions(captions, shard, wishes);
  } catch (const std::runtime_error&) {
    for (const std::size_t i : order) wishes[i].bad = std::current_exception();
  }
}

void LatentsSource::ask_for_text(std::size_t shard, std::int64_t row, std::size_t i, const ShardRows& rows,
                                 RowWish& wish, Scratch& scratch) const {
  const FileName& file = scratch.files.back();
  const auto at = static_cast<std::size_t>(row);
  const auto ask = [&](int column, std::size_t bytes, std::byte* out,
                       const std::vector<std::uint64_t>& hashes) {
    scratch.requests.push_back(
        {&file, index_.shards[shard].places[static_cast<std::size_t>(column)].offset + at * bytes, bytes, out,
         hashes.empty() ? nullptr : &hashes[at], i, nullptr, false});
  };
  if (!rows.text_ids.empty()) {
    std::memcpy(wish.text, &rows.text_ids[at * shape_.text_bytes()], shape_.text_bytes());
  } else if (scale_ < 0) {
    ask(text_, shape_.text_bytes(), wish.text, rows.text_hashes);
  } else {
    WideText& wide = scratch.wide.emplace_back();
    const auto tokens = static_cast<std::size_t>(shape_.text_length);
    wide.wish = i;
    wide.values.resize(tokens * static_cast<std::size_t>(shape_.text_width));
    wide.scales.resize(tokens);
    ask(text_, wide.values.size(), reinterpret_cast<std::byte*>(wide.values.data()), rows.text_hashes);
    if (!rows.text_scale.empty())
      std::memcpy(wide.scales.data(), &rows.text_scale[at * tokens * sizeof(float)], tokens * sizeof(float));
    else
      ask(scale_, tokens * sizeof(float), reinterpret_cast<std::byte*>(wide.scales.data()),
          rows.scale_hashes);
  }
}

void LatentsSource::finish_text(Scratch& scratch, std::span<RowWish> wishes) const {
  for (const WideText& wide : scratch.wide)
    widen_text(wide.values, wide.scales, reinterpret_cast<std::uint16_t*>(wishes[wide.wish].text));
}

// Texts are few and small next to the rows, and only asked for by hand: whole columns, checked.
void LatentsSource::add_captions(const std::vector<std::pair<std::size_t, std::int64_t>>& chosen,
                                 std::size_t shard, std::span<RowWish> wishes) const {
  const auto from = files_->open(file(shard, LatentFile::text));
  const store::IndexedShard& s = index_.shards[shard];
  const std::vector<std::byte> offsets =
      read_column(index_, s, LatentFile::text, "text_caption_offsets", *from);
  const std::vector<std::byte> texts = read_column(index_, s, LatentFile::text, "text_caption", *from);
  for (const auto& [wish, row] : chosen) {
    const auto text = text_at(offsets, texts, row);
    if (!text)
      core::user_error("{}: row {} of `text_caption_offsets` leaves its column; make the shard again",
                       from->name(), row);
    wishes[wish].caption->assign(*text);
  }
}

// A row whose bytes are wrong is named by its sample and, where that can be read, its key.
std::exception_ptr LatentsSource::named(const RowRequest& request, const Scratch& scratch) const {
  try {
    std::rethrow_exception(request.bad);
  } catch (const BadRow&) {
    const std::int64_t row = scratch.row_in_shard[request.wish];
    const std::size_t shard = (request.file->id - ids_) / 2;
    const bool images = (request.file->id - ids_) % 2 == 0;
    const FileName keys = file(shard, LatentFile::images);
    std::string key;
    try {
      const auto from = files_->open(keys);
      const auto offsets =
          read_column(index_, index_.shards[shard], LatentFile::images, "key_offsets", *from);
      const auto texts = read_column(index_, index_.shards[shard], LatentFile::images, "key", *from);
      if (const auto text = text_at(offsets, texts, row)) key = fmt::format(" (`{}`)", *text);
    } catch (const std::runtime_error&) {  // the number alone, then
    }
    return std::make_exception_ptr(
        core::UserError(fmt::format("{}: sample {}{}: its {} does not match its checksum; run `doctor verify "
                                    "{}` and make the shard again",
                                    request.file->path.string(), row, key,
                                    images ? "row of latents" : "row of text", options_.folder.string())));
  } catch (...) {
    return request.bad;
  }
}

}  // namespace microdit::stream
