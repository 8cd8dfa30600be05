// Guidance and step counts with a trained run's own network.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "explain/chapter.h"
#include "explain/explain.h"

namespace microdit::explain {

class RunGrids {
 public:
  /// Opens the run and checks all that will be painted. UserError: no run, prompts or samplers that it cannot take.
  RunGrids(const ExplainConfig& config, comm::Communicator& comm, const core::StopFlag& stop);
  ~RunGrids();

  /// What tells the checkpoint and the prompts from others.
  core::Json identity() const;
  /// A few words for people.
  std::string describe() const;
  /// Paints. core::Stopped.
  Chapter chapter() const;

 private:
  struct Opened;
  std::unique_ptr<Opened> opened_;
};

}  // namespace microdit::explain
