// Every row is a stretch of one table of normal numbers, so that making it costs no more than reading would.
#include "stream/synthetic.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"
#include "core/seed.h"

namespace microdit::stream {
namespace {

constexpr std::size_t kTable = 1 << 16;
constexpr float kStd = 0.5F;
constexpr std::int32_t kTokens = 1000;

class Synthetic : public RowSource {
 public:
  Synthetic(const RowShape& shape, std::int64_t count, std::uint64_t seed)
      : shape_(shape), count_(count), seed_(seed), table_(kTable) {
    if (shape.latents_bytes() == 0 || shape.text_bytes() == 0)
      core::user_error("data.synthetic: latents of {} x {} x {} and text of {} x {} are none", shape.channels,
                       shape.latent_size, shape.latent_size, shape.text_length, shape.text_width);
    core::CounterRng rng(seed, core::Purpose::noise);
    for (std::uint16_t& value : table_) value = core::float_to_half(kStd * rng.normal());
  }

  std::string name() const override { return "synthetic data"; }
  std::int64_t num_samples() const override { return count_; }
  const RowShape& shape() const override { return shape_; }
  const core::Json& facts() const override { return facts_; }
  core::Json pin() const override { return core::Json::object(); }

  void read(std::span<RowWish> wishes) const override {
    for (RowWish& wish : wishes) {
      core::CounterRng rng(seed_, core::Purpose::order, static_cast<std::uint64_t>(wish.sample));
      copy(rng, wish.latents, shape_.latents_bytes());
      wish.no_caption = wish.drop_caption;
      wish.text_length = wish.no_caption ? 0 : static_cast<std::int32_t>(shape_.text_length);
      if (wish.caption) *wish.caption = wish.no_caption ? "" : "sample " + std::to_string(wish.sample);
      if (wish.no_caption || wish.text == nullptr) continue;
      if (shape_.tokens_only) {
        for (std::int64_t i = 0; i < shape_.text_length; ++i)
          reinterpret_cast<std::int32_t*>(wish.text)[i] = static_cast<std::int32_t>(rng.below(kTokens));
      } else {
        copy(rng, wish.text, shape_.text_bytes());
      }
    }
  }

 private:
  void copy(core::CounterRng& rng, std::byte* out, std::size_t bytes) const {
    for (std::size_t begin = rng.below(kTable); bytes > 0; begin = 0) {
      const std::size_t step = std::min(bytes, (kTable - begin) * sizeof(table_[0]));
      std::memcpy(out, &table_[begin], step);
      out += step;
      bytes -= step;
    }
  }

  const RowShape shape_;
  const std::int64_t count_;
  const std::uint64_t seed_;
  std::vector<std::uint16_t> table_;
  const core::Json facts_ = core::Json::object();
};

}  // namespace

std::unique_ptr<RowSource> make_synthetic(const RowShape& shape, std::int64_t count, std::uint64_t seed) {
  core::check(count > 0, "{} made-up samples", count);
  return std::make_unique<Synthetic>(shape, count, seed);
}

}  // namespace microdit::stream
