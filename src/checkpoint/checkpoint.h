// Checkpoints: a folder of safetensors shards plus a hashed manifest; written aside by every rank, published
// by one rename. No torch and no idea of a model: named fp32 tensors in ranges, and a JSON state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/json.h"

namespace microdit::checkpoint {

/// Floats that live as long as somebody holds them: the writer works in the background.
class HeldValues {
 public:
  HeldValues(std::vector<float> values) : count_(values.size()) {
    const auto held = std::make_shared<const std::vector<float>>(std::move(values));
    first_ = std::shared_ptr<const float>(held, held->data());
  }
  HeldValues(std::shared_ptr<const float> first, std::size_t count)
      : first_(std::move(first)), count_(count) {}

  std::size_t size() const { return count_; }
  std::span<const float> span() const { return {first_.get(), count_}; }

 private:
  std::shared_ptr<const float> first_;
  std::size_t count_ = 0;
};

/// Values [begin, begin + values.size()) of the flattened fp32 tensor `name` of shape `shape`.
/// Names are "weights/<parameter>", "ema/<parameter>", "exp_avg/<parameter>", "exp_avg_sq/<parameter>".
struct Part {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0;
  HeldValues values;
};

/// Which checkpoints stay.
struct Retention {
  std::int64_t keep_last = 0;   ///< the newest so many that verify; 0 = all
  std::int64_t keep_every = 0;  ///< steps divisible by it stay; 0 = none
  std::int64_t keep_step = -1;  ///< this one stays, too; -1 = none
};

/// Writes one checkpoint: `folder/step_%07d`. Every rank brings its parts; together they cover each tensor
/// once.
class Writer {
 public:
  /// `folder` is RUN/checkpoints. Removes stale hidden folders of earlier lives (rank 0, collective).
  Writer(std::filesystem::path folder, comm::Communicator& comm);
  ~Writer();  ///< waits for the thread; publishes nothing

  /// Starts writing in the background (no MPI there): hash from memory, write, sync a shard in the hidden
  /// folder. Collective. Only one checkpoint at a time: finish() an earlier one first.
  void start(std::int64_t step, std::vector<Part> parts, core::Json state);
  bool busy() const;          ///< started and not yet published
  bool durable_here() const;  ///< this rank's shard is on disk (or failed: publish() reports it)
  /// Collective, when every rank's durable_here() is true (the loop's all-reduce told): rank 0 checks sizes
  /// and hashes, writes manifest.json and renames; in the background it then deletes what `retention` does not keep. What fails (a full
  /// disk) leaves nothing visible and is thrown on every rank; the next start() tries anew.
  void publish(const Retention& retention);
  /// Waits for all ranks' shards, then publish(), and for the deletions. Collective.
  void finish(const Retention& retention);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct Inspection;

/// A checkpoint that verified: header, hashes of all its shards.
class Reader {
 public:
  /// UserError when the folder is no checkpoint, or a file is missing, cut or damaged (file and tensor
  /// named). `check_payload`: also the hash of every tensor part (else only sizes and headers).
  explicit Reader(std::filesystem::path folder, bool check_payload = true);
  /// After an inspection of its own: UserError when that found damage.
  Reader(std::filesystem::path folder, Inspection found);
  ~Reader();
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;

  const std::filesystem::path& folder() const;
  std::int64_t step() const;
  const core::Json& state() const;
  /// Name -> shape, sorted by name.
  const std::map<std::string, std::vector<std::int64_t>>& tensors() const;
  bool has(const std::string& name) const { return tensors().contains(name); }
  /// Values [begin, begin + out.size()) of the flattened tensor, gathered from whatever shards hold them.
  void read(const std::string& name, std::int64_t begin, std::span<float> out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Newest checkpoint under `folder` that verifies; walks back over damaged ones and logs why. Empty when
/// there is none. UserError when there are checkpoints but none verifies. What cannot be read for an errno is not
/// damaged: FaultError, and no walk back.
std::optional<Reader> open_latest(const std::filesystem::path& folder, bool check_payload = true);
/// Collective form: rank 0 verifies and chooses, all open the same.
std::optional<Reader> open_latest(const std::filesystem::path& folder, comm::Communicator& comm);

/// One checkpoint folder, collective: rank 0 verifies, all open it.
Reader open(const std::filesystem::path& checkpoint, comm::Communicator& comm);

/// What is wrong with one checkpoint folder, one line each (file, and tensor where the payload is hit); empty
/// = good.
std::vector<std::string> verify(const std::filesystem::path& checkpoint);

/// "step_0001200" and back (nullopt for other names).
std::string step_name(std::int64_t step);
std::optional<std::int64_t> step_of(const std::string& name);

}  // namespace microdit::checkpoint
