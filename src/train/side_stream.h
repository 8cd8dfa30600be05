// Work beside the computation: on a CUDA device on a stream of its own, on the CPU at once.
#pragma once

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <memory>
#include <optional>

namespace microdit::train {

class SideStream {
 public:
  /// The end of a piece of work; empty: it has ended.
  using Done = std::unique_ptr<c10::Event>;

  explicit SideStream(c10::Device device) : device_(device) {
    if (device.is_cuda()) stream_ = guard().getStreamFromGlobalPool(device, true);
  }

  /// Does `work` behind all that the current stream has been given up to now.
  template <class Work>
  Done run(const Work& work) {
    if (!stream_) {
      work();
      return nullptr;
    }
    c10::Event before(device_.type());
    before.record(guard().getStream(device_));
    before.block(*stream_);
    {
      const c10::StreamGuard on_side(*stream_);
      work();
    }
    auto done = std::make_unique<c10::Event>(device_.type());
    done->record(*stream_);
    return done;
  }

  /// What the current stream is given from now on comes behind `done`.
  void wait(Done& done) const {
    if (done) done->block(guard().getStream(device_));
    done.reset();
  }

 private:
  c10::impl::VirtualGuardImpl guard() const { return c10::impl::VirtualGuardImpl(device_.type()); }

  c10::Device device_;
  std::optional<c10::Stream> stream_;
};

}  // namespace microdit::train
