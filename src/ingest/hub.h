// The hub of data sets (Hugging Face's protocol): where it is, who asks, what a repository holds at a pinned commit.
//
// Endpoint: MICRODIT_HUB, else HF_ENDPOINT, else https://huggingface.co. Token: the file HF_TOKEN_FILE (mode 0600), else
// HF_TOKEN, else HF_HOME/token; it goes to the endpoint only, over https or loopback. HF_HUB_OFFLINE=1: nothing but the
// cache under HF_HOME is asked, whatever names the hub (hub, urls, also, a redirect).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "ingest/http.h"
#include "ingest/sources.h"

namespace microdit::ingest {

inline constexpr const char* kPinFile = "hub.json";  ///< in the raw folder: the pinned listing

struct HubPlace {
  std::string endpoint{}, repository{}, revision{};
  bool of_models = false;  ///< else of data sets
  std::string file_url(const std::string& commit, const std::string& path) const;
};
/// UserError when source.hub is not org/name[@revision], or the endpoint is no http(s) address.
HubPlace hub_place(const SourceSection& source);
std::string hub_endpoint();

/// "" when there is none. HF_TOKEN leaves the environment: programs that read foreign bytes start from it. UserError
/// when the entry is gated and there is none, or others may read HF_TOKEN_FILE.
std::string take_hub_token(const CatalogueEntry& entry);

bool hub_is_offline();

/// The entry's files at one commit, sizes and SHA-256 from the hub's listing (1,000 files a page), or from the cache.
/// Nothing when stopped.
std::optional<std::vector<HubFile>> hub_files(const SourceSection& source, HttpClient& client,
                                              const core::StopFlag& stop);

/// The same, pinned: the first caller writes it to `pin` (a JSON file), later ones read it and ask nobody, until
/// source.hub or source.pattern change; then files that are still the same keep their commit. Returns the file's text.
std::optional<std::string> pin_hub_files(const SourceSection& source, const std::filesystem::path& pin,
                                         HttpClient& client, const core::StopFlag& stop);
/// The text of `pin` where it is there and lists what `source` asks for.
std::optional<std::string> present_pin(const SourceSection& source, const std::filesystem::path& pin);
std::vector<HubFile> pinned_files(const SourceSection& source, const std::string& pin_text);

}  // namespace microdit::ingest
