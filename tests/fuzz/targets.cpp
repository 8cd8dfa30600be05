// What each parser does with any bytes: a UserError at most. A round trip is checked where there is one.
#include "fuzz/targets.h"

#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "core/error.h"
#include "core/file_kind.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/pickle.h"
#include "core/safetensors_header.h"
#include "core/torch_limits.h"
#include "core/torch_tensors.h"
#include "core/utf8.h"
#include "core/weights_file.h"
#include "encoders/charsmap.h"
#include "encoders/sentencepiece_file.h"
#include "encoders/tokenizer.h"
#include "encoders/unigram_model.h"
#include "fuzz/table_targets.h"
#include "image/decode.h"
#include "ingest/archive_reader.h"
#include "ingest/catalogue.h"
#include "ingest/http_rules.h"
#include "ingest/records.h"
#include "store/latent_index.h"
#include "store/manifest_text.h"
#include "text/caption_processor.h"
#include "text/strip.h"

namespace microdit::fuzz {
namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

template <class Work>
void refused_or_done(Work work) {
  try {
    work();
  } catch (const core::UserError&) {
  } catch (const image::BadImage&) {
  }
}

void safetensors(std::string_view bytes) {
  refused_or_done([&] {
    const std::uint64_t size = bytes.size() + 1000;
    if (bytes.size() >= 8) core::detail::checked_header_size(bytes.substr(0, 8), size);
    const auto header = core::detail::parse_safetensors_header(bytes, size);
    for (const auto& [name, tensor] : header.tensors)
      must(tensor.offset <= size && tensor.bytes <= size - tensor.offset);
  });
  core::detail::foreign_format(bytes);
}

void pickle(std::string_view bytes) {
  refused_or_done([&] {
    const core::detail::Pickle read = core::detail::read_pickle(bytes);
    must(read.bytes <= bytes.size() && read.root < read.values.size());
    core::detail::Storages storages = core::detail::named_storages(read);
    const auto found = core::detail::find_tensors(read, storages, 1 << 20);
    for (const auto& [name, tensor] : found.tensors)
      must(tensor.info.bytes <= core::detail::TorchLimits::cost_bytes + (4 << 20));
  });
}

/// The whole container, from a file in memory; what it says is there is read.
void torch(std::string_view bytes) {
  const int file = ::memfd_create("input", 0);
  must(::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  refused_or_done([&] {
    const core::WeightsFile weights(fmt::format("/proc/self/fd/{}", file));
    for (const auto& [name, info] : weights.tensors()) {
      std::vector<std::byte> out(info.bytes);
      weights.read(name, out);
    }
  });
  ::close(file);
}

void manifest(std::string_view bytes) {
  refused_or_done([&] { store::record_from_text(std::string(bytes), "x"); });
  refused_or_done([&] { store::parse_manifest(std::string(bytes), "x"); });
  // The checksum would keep everything else out.
  std::string whole(bytes);
  if (!whole.ends_with('\n')) whole += '\n';
  whole += core::Json{{"sha256", core::sha256(std::as_bytes(std::span(whole)))}}.dump() + "\n";
  refused_or_done([&] {
    for (const store::Record& record : store::parse_manifest(whole, "x").records)
      for (const store::ShardEntry& shard : record.shards) must(store::is_plain_name(shard.file));
  });
}

void index(std::string_view bytes) {
  refused_or_done([&] { store::parse_latent_index(bytes, "x"); });
  if (bytes.size() < 8) return;
  std::string sealed(bytes.substr(0, bytes.size() - 8));
  const std::uint64_t hash = core::xxh3_64(std::as_bytes(std::span(sealed)));
  sealed.append(reinterpret_cast<const char*>(&hash), sizeof hash);
  refused_or_done([&] { must(store::to_bytes(store::parse_latent_index(sealed, "x")) == sealed); });
}

void archive(std::string_view bytes, const char* kind) {
  const int file = ::memfd_create("archive", MFD_CLOEXEC);
  must(file >= 0 && ::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  const ingest::CatalogueEntry entry;
  const ingest::ArchiveRules rules{
      .kind = kind, .wanted = ingest::wanted_extensions(entry), .member_bytes = 1 << 20};
  ingest::RecordGrouper grouper(ingest::record_endings(entry), [&](ingest::RawRecord&& raw) {
    must(raw.bytes <= ingest::limits::kRecordBytes &&
         (raw.key.find("../") == std::string::npos || !raw.skip.empty()));
    ingest::ReadRecord record;
    if (ingest::RecordReader(entry).read(std::move(raw), record).empty()) must(!record.image.empty());
  });
  refused_or_done([&] {
    ingest::read_archive(file, "x", rules, [&](ingest::Member&& member) {
      must(member.bytes.size() <= rules.member_bytes && !core::first_invalid_utf8(member.name));
      grouper.add(std::move(member));
    });
    grouper.finish();
  });
  ::close(file);
}
void tar(std::string_view bytes) {
  archive(bytes, "tar");
}
void zip(std::string_view bytes) {
  archive(bytes, "zip");
}

void json(std::string_view bytes) {
  refused_or_done([&] {
    const core::Json value = core::parse_json(bytes, "x");
    must(core::parse_foreign_json(bytes, "x") == value);
  });
  refused_or_done([&] { core::parse_foreign_json(bytes, "x"); });
}

const encoders::Tokenizer& tokenizer() {
  static const auto loaded = [] {
    const auto folder =
        std::filesystem::temp_directory_path() / ("microdit_fuzz_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "vocab.txt")
        << "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nb\n##b\nab\n##ba\n!\n,\n";
    auto made = encoders::load_wordpiece(folder);
    std::filesystem::remove_all(folder);
    return made;
  }();
  return *loaded;
}

void wordpiece(std::string_view bytes) {
  const auto all = tokenizer().encode(bytes);
  const auto some = tokenizer().encode(bytes, 7);
  must(all.size() >= 2 && some.size() <= 7 && some.back() == all.back());
  for (std::size_t i = 0; i + 1 < some.size(); ++i) must(some[i] == all[i]);
}

void sentencepiece(std::string_view bytes) {
  refused_or_done([&] {
    const encoders::UnigramVocabulary vocabulary = encoders::parse_sentencepiece(bytes, "x");
    const encoders::UnigramModel model(vocabulary);
    const encoders::Charsmap charsmap(vocabulary.charsmap, "x");
    std::vector<std::int32_t> ids;
    model.append(charsmap.normalize("ab \u00e9\ufb01e\u0301\r\n\u65e5"), ids);
    for (const std::int32_t id : ids)
      must(id >= 0 && static_cast<std::size_t>(id) < vocabulary.pieces.size());
  });
}

void http(std::string_view bytes) {
  ingest::ResponseHeaders headers;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', begin), bytes.size() - 1) + 1;
    ingest::read_header(bytes.substr(begin, end - begin), headers);
    begin = end;
  }
  const ingest::Answer answer = ingest::judge_headers(headers, {.offset = 100, .expected_bytes = 1000});
  must(answer.body != ingest::Body::continues || headers.range_begin == 100);
  headers.version().validator();
  ingest::parse_retry_after(bytes.substr(0, 100), 0);
  refused_or_done(
      [&] { ingest::checked_redirect("https://example.org/a", std::string(bytes.substr(0, 200))); });
}

void yaml(std::string_view bytes) {
  refused_or_done([&] { core::load<ingest::CatalogueEntry>(core::ConfigTree::parse(bytes)); });
}

void picture(const std::string& bytes) {
  refused_or_done(
      [&] { image::decode(std::as_bytes(std::span(bytes)), {.max_pixels = 1 << 20, .apply_exif = true}); });
  refused_or_done([&] { image::has_several_frames(std::as_bytes(std::span(bytes))); });
}
void gif(std::string_view bytes) {
  picture("GIF89a" + std::string(bytes));
}
void bmp(std::string_view bytes) {
  picture("BM" + std::string(bytes));
}

// Also with the checksums that would keep everything else out.
void png(std::string_view bytes) {
  std::string file = "\x89PNG\r\n\x1a\n" + std::string(bytes);
  picture(file);
  for (std::size_t at = 8; at + 12 <= file.size();) {
    const auto byte = [&](std::size_t i) {
      return static_cast<std::uint32_t>(static_cast<unsigned char>(file[at + i]));
    };
    const std::uint64_t length = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
    if (length > file.size() - at - 12) break;
    const auto sum = ::crc32(0, reinterpret_cast<const Bytef*>(&file[at + 4]), static_cast<uInt>(length + 4));
    for (std::size_t i = 0; i < 4; ++i) file[at + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
  picture(file);
}

void captions(std::string_view bytes) {
  constexpr std::size_t kMostGrowth = 4;  // a space after each of many commas, ligatures taken apart
  for (const std::string& clean : {text::clean_caption(bytes), text::gentle_caption(bytes)}) {
    must(clean.size() <= kMostGrowth * bytes.size() && text::strip(clean) == clean);
    must(!core::first_invalid_utf8(clean));
  }
}

}  // namespace

const std::map<std::string, Target>& targets() {
  static const std::map<std::string, Target> all = {{"safetensors", safetensors},
                                                    {"pickle", pickle},
                                                    {"torch", torch},
                                                    {"manifest", manifest},
                                                    {"index", index},
                                                    {"tar", tar},
                                                    {"zip", zip},
                                                    {"json", json},
                                                    {"http", http},
                                                    {"wordpiece", wordpiece},
                                                    {"sentencepiece", sentencepiece},
                                                    {"yaml", yaml},
                                                    {"gif", gif},
                                                    {"bmp", bmp},
                                                    {"png", png},
                                                    {"captions", captions},
                                                    {"json_rows", json_rows},
                                                    {"csv_rows", csv_rows},
                                                    {"table", table_file}};
  return all;
}

}  // namespace microdit::fuzz
