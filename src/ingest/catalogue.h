// A dataset in about 15 lines of YAML: where its files are, what a record is, which captions count, how it is encoded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/config.h"

namespace microdit::ingest {

/// Where raw files come from. Exactly one of hub, urls, list_file. "{0000..0007}" in urls and pattern
/// expands.
struct SourceSection {
  std::string hub{};                   ///< "org/name[@rev]" at MICRODIT_HUB (default https://huggingface.co)
  std::vector<std::string> urls{};     ///< http(s):// or file://
  std::string list_file{};             ///< tab-separated: file name, URL; a header line is skipped
  std::vector<std::string> pattern{};  ///< files of the hub repository
  std::vector<std::string> small{};    ///< file names of `subset: small`; empty = the first 1 %, at least one
  std::map<std::string, std::string> sha256{};  ///< file name -> known SHA-256
  std::int64_t max_attempts = 8;                ///< in a row without a new byte
  double backoff_s = 1;  ///< mean of the first wait is half of this; it doubles up to 60 s
  bool gated = false;    ///< needs HF_TOKEN (read from a 0600 file named by HF_TOKEN_FILE or the environment)
  void fields(core::Fields& f);
};
struct RecordSection {
  std::string kind = "sidecar_text";                                ///< members with one stem are one record
  std::vector<std::string> image = {"jpg", "jpeg", "png", "webp"};  ///< extensions
  /// Caption source name -> where it is: "txt" (a sidecar's text) or "json:<key>" (a key of the sidecar
  /// .json).
  std::map<std::string, std::string> caption = {{"caption", "txt"}};
  void fields(core::Fields& f);
};
struct FilterSection {
  std::int64_t min_side = 0;
  double max_skip_fraction = 0.5;  ///< a job whose skips exceed this share of an archive's records fails
  void fields(core::Fields& f);
};
struct CaptionSection {
  bool clean = false;                ///< the original's caption cleaner
  std::vector<std::string> which{};  ///< caption sources to keep, in this order; empty = all
  void fields(core::Fields& f);
};
struct SplitSection {
  double held_out = 0;    ///< fraction
  std::string group{};    ///< "json:<key>": records with one value stay on one side; empty = the record's key
  std::int64_t seed = 0;  ///< another draw of the same fraction
  void fields(core::Fields& f);
};
struct LatentSection {
  std::vector<std::int64_t> sizes = {256, 512};
  std::string codec{};                ///< diffusers folder
  std::string codec_latent = "mean";  ///< mean | sample
  std::string text_encoder{};         ///< folder
  std::int64_t text_length = 77;
  std::int64_t batch_size = 32;
  std::int64_t seed = 0;  ///< of `codec_latent: sample`
  void fields(core::Fields& f);
};

struct CatalogueEntry {
  std::string name;
  SourceSection source;
  std::string archive = "tar";  ///< tar | tgz | zip | none (the files themselves are the members)
  RecordSection record;
  FilterSection filters;
  CaptionSection captions;
  SplitSection splits;
  LatentSection latents;
  std::int64_t shard_records = 1000;  ///< raw records per shard
  std::string subset = "all";         ///< all | small
  std::int64_t threads_per_rank = 1;  ///< recorded: encoder bits depend on it
  std::string device = "auto";
  std::string task{};  ///< "i/n"
  void fields(core::Fields& f);

  /// name, or name-small for the small subset: its name under raw/, samples/ and latents/.
  std::string folder_name() const;
  std::filesystem::path raw_folder() const;  ///< data_root()/raw/folder_name()
  std::filesystem::path samples_folder() const;
  std::filesystem::path latents_folder() const;
  /// Caption sources that are kept, in the order that `caption_source` numbers mean.
  std::vector<std::string> caption_sources() const;
};

}  // namespace microdit::ingest
