// Writer: shards in the background, one agreed publication.
#include <fmt/format.h>

#include <atomic>
#include <set>
#include <thread>

#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "checkpoint/publication.h"
#include "checkpoint/shard.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"

namespace microdit::checkpoint {

struct Writer::Impl {
  Impl(std::filesystem::path where, comm::Communicator& with) : folder(std::move(where)), comm(with) {}

  void write_in_background(std::vector<Part> parts);
  void join() {
    if (thread.joinable()) thread.join();
  }
  void publish_on_rank_0(const std::vector<std::string>& shards);
  void retain_in_background();

  std::filesystem::path folder;
  comm::Communicator& comm;
  std::thread thread;  ///< writes a shard; after publish(), on rank 0, removes old checkpoints
  std::atomic<bool> durable{false};
  std::string outcome;  ///< "+shard" or "-error"; the thread's until it is joined

  bool busy = false;
  std::int64_t step = 0;
  core::Json state;
  std::filesystem::path hidden;
  Retention retention;  ///< of the last publish()
  std::set<std::int64_t>
      known_good;  ///< rank 0: steps that this life wrote or verified; the thread's, as `step`
};

Writer::Writer(std::filesystem::path folder, comm::Communicator& comm)
    : impl_(std::make_unique<Impl>(std::move(folder), comm)) {
  comm.on_root([&] {
    std::filesystem::create_directories(impl_->folder);
    remove_stale(impl_->folder);
  });
}

Writer::~Writer() {
  impl_->join();
}

void Writer::start(std::int64_t step, std::vector<Part> parts, core::Json state) {
  Impl& impl = *impl_;
  core::check(!impl.busy, "start() of step {} while step {} is being written", step, impl.step);
  impl.join();  // the last one's deletions
  impl.hidden = impl.comm.on_root([&] { return make_hidden(impl.folder, step).string(); });
  impl.step = step;
  impl.state = std::move(state);
  impl.busy = true;
  impl.durable = false;
  impl.write_in_background(std::move(parts));
}

void Writer::Impl::write_in_background(std::vector<Part> parts) {
  thread = std::thread([this, parts = std::move(parts), rank = comm.rank(), size = comm.size()]() mutable {
    try {
      const Shard shard = write_shard(hidden, shard_name(rank, size), parts);
      outcome = fmt::format("+{}", shard_to_text(shard.file, shard.tensors));
    } catch (const std::exception& error) {
      outcome = fmt::format("-{}", core::error_to_text(error, fmt::format("rank {}: ", rank)));
    }
    parts = {};  // the memory goes now, not at the join
    durable = true;
  });
}

bool Writer::busy() const {
  return impl_->busy;
}
bool Writer::durable_here() const {
  return impl_->durable;
}

void Writer::publish(const Retention& retention) {
  Impl& impl = *impl_;
  core::check(impl.busy, "publish() without start()");
  impl.join();
  impl.busy = false;
  impl.retention = retention;
  const std::vector<std::string> shards = impl.comm.all_gather(impl.outcome);
  impl.comm.on_root([&] { impl.publish_on_rank_0(shards); });
  if (impl.comm.rank() == 0) impl.retain_in_background();
}

void Writer::finish(const Retention& retention) {
  if (busy()) publish(retention);  // which joins every rank's thread
  impl_->join();
}

void Writer::Impl::publish_on_rank_0(const std::vector<std::string>& shards) {
  const std::filesystem::path visible = folder / step_name(step);
  try {
    Manifest manifest;
    manifest.step = step;
    manifest.state = state;
    for (const std::string& shard : shards) {
      if (shard.front() == '-') core::throw_from_text(shard.substr(1));
      add_shard(manifest, shard.substr(1));
    }
    const std::string uncovered = sort_and_check_coverage(manifest);
    if (!uncovered.empty()) core::system_error("bug: {}", uncovered);
    for (const FileEntry& file : manifest.files) check_on_disk(hidden, file);
    core::atomic_write(hidden / kManifestName, manifest_to_text(manifest));
    publish_folder(hidden, visible);
  } catch (const std::exception&) {
    discard(hidden);
    throw;
  }
}

void Writer::Impl::retain_in_background() {
  thread = std::thread([this] {
    try {
      retain(folder, step, retention, known_good);
    } catch (const std::exception& error) {
      core::log_warn("old checkpoints stay for now: {}", error.what());
    }
  });
}

}  // namespace microdit::checkpoint
