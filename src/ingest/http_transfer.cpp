// The thread that drives libcurl.
#include "ingest/http_transfer.h"

#include <curl/curl.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "ingest/curl_request.h"

namespace microdit::ingest {
namespace {

constexpr int kPoll_ms = 200;

}  // namespace

struct TransferLoop::State {
  State() {
    core::check(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, "curl_global_init failed");
    multi = curl_multi_init();
    core::check(multi != nullptr, "curl_multi_init failed");
    // One connection per file: several files on one would share its window.
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
    thread = std::thread([this] { run(); });
  }
  ~State() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    curl_multi_wakeup(multi);
    thread.join();
    curl_multi_cleanup(multi);
    curl_global_cleanup();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void run() {
    while (take_new()) {
      int running = 0;
      curl_multi_perform(multi, &running);
      end_finished();
      end_stopped();
      curl_multi_poll(multi, nullptr, 0, kPoll_ms, nullptr);
    }
  }

  /// False when the loop is over.
  bool take_new() {
    const std::lock_guard lock(mutex);
    for (Transfer* transfer : waiting) {
      under_way[transfer->handle()] = transfer;
      transfer->start();
      curl_multi_add_handle(multi, transfer->handle());
    }
    waiting.clear();
    return !ending;
  }

  void end_finished() {
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg == CURLMSG_DONE) end(message->easy_handle, message->data.result);
    }
  }
  void end_stopped() {
    std::vector<CURL*> stopped;
    for (const auto& [handle, transfer] : under_way)
      if (transfer->stopped()) stopped.push_back(handle);
    for (CURL* handle : stopped) end(handle, CURLE_ABORTED_BY_CALLBACK);
  }
  void end(CURL* handle, CURLcode code) {
    Transfer* transfer = under_way.at(handle);
    under_way.erase(handle);
    transfer->end(code);
    curl_multi_remove_handle(multi, handle);
    const std::lock_guard lock(mutex);
    transfer->done = true;
    some_done.notify_all();
  }

  CURLM* multi;
  std::mutex mutex;
  std::condition_variable some_done;
  std::vector<Transfer*> waiting;
  std::map<CURL*, Transfer*> under_way;  ///< of the thread alone
  bool ending = false;
  std::thread thread;
};

TransferLoop::TransferLoop() : state_(std::make_unique<State>()) {}
TransferLoop::~TransferLoop() = default;

HopResult TransferLoop::perform(const Hop& hop) {
  Transfer transfer(hop);
  std::unique_lock lock(state_->mutex);
  state_->waiting.push_back(&transfer);
  curl_multi_wakeup(state_->multi);
  state_->some_done.wait(lock, [&] { return transfer.done; });
  return transfer.take();
}

}  // namespace microdit::ingest
