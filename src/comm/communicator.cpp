// What every communicator does alike, in terms of its few collectives.
#include "comm/communicator.h"

#include <algorithm>

#include "core/error.h"
#include "core/stop_flag.h"

namespace microdit::comm {

void Communicator::broadcast(std::string& text, int root) {
  std::uint64_t length = text.size();
  broadcast(std::as_writable_bytes(std::span(&length, 1)), root);
  text.resize(length);
  broadcast(std::as_writable_bytes(std::span(text)), root);
}

bool Communicator::any(bool here) {
  double flag[] = {here ? 1.0 : 0.0};
  all_reduce_max(flag);
  return flag[0] > 0;
}

std::string Communicator::run_on_root(const std::function<std::string()>& work) {
  std::string answer;  // "+text", "-error" or "." for stopped
  if (rank() == 0) {
    try {
      answer = "+" + work();
    } catch (const core::Stopped&) {
      answer = ".";
    } catch (const std::exception& error) {
      answer = "-" + core::error_to_text(error);
    }
  }
  broadcast(answer, 0);
  if (answer.front() == '.') throw core::Stopped();
  if (answer.front() == '-') core::throw_from_text(answer.substr(1));
  return answer.substr(1);
}

WiderDeadline::WiderDeadline(Communicator& comm, double seconds) : comm_(comm), before_(comm.deadline_s()) {
  if (before_ > 0) comm_.set_deadline(std::max(before_, seconds));
}

}  // namespace microdit::comm
