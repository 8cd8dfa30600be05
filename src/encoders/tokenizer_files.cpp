// Vocabularies and merges out of the three kinds of files.
#include "encoders/tokenizer_files.h"

#include <zlib.h>

#include <array>
#include <memory>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/utf8.h"
#include "encoders/fetch_command.h"
#include "encoders/tokenizer_limits.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kClipMerges = 49152 - 256 - 2;
constexpr int kGzipOnly = 15 + 16;  // zlib's window bits: a gzip heading must be there

std::string unpacked(const std::string& packed, const fs::path& path) {
  z_stream stream{};
  if (inflateInit2(&stream, kGzipOnly) != Z_OK) core::system_error("zlib: {}", "inflateInit2 failed");
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> closing(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out;
  std::array<char, 1 << 16> chunk;
  int status = Z_OK;
  while (status == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = chunk.size();
    status = inflate(&stream, Z_NO_FLUSH);
    out.append(chunk.data(), chunk.size() - stream.avail_out);
    if (out.size() > kLargestTokenizerFile)
      core::user_error("{}: unpacks to more than {} bytes; that is no CLIP vocabulary: fetch the file again",
                       path.string(), kLargestTokenizerFile);
  }
  if (status != Z_STREAM_END || stream.avail_in != 0)
    core::user_error("{}: {}; fetch the file again", path.string(),
                     status == Z_STREAM_END  ? "bytes follow the gzip stream"
                     : status == Z_BUF_ERROR ? "the gzip stream is cut short"
                                             : "not a gzip stream, or a damaged one");
  return out;
}

std::pair<std::string, std::string> parse_merge(std::string_view line, const std::string& origin,
                                                std::size_t number) {
  const std::size_t space = line.find(' ');
  if (space == 0 || space == line.npos || space + 1 == line.size() || line.find(' ', space + 1) != line.npos)
    core::user_error("{}: line {} (\"{}\") is no merge: two pieces with one space between", origin, number,
                     core::shortened(core::with_valid_utf8(line), 40));
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

/// Calls take(line, number) for each line; a final line break ends the last one.
template <class Take>
void for_lines(std::string_view text, Take take) {
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (!take(text.substr(begin, end - begin), ++number)) return;
    begin = end + 1;
  }
}

PieceIds parse_vocabulary(const core::Json& json, const std::string& origin) {
  if (!json.is_object() || json.empty() || json.size() > kMostPieces)
    core::user_error("{}: must be an object piece -> id of 1 to {} pieces", origin, kMostPieces);
  PieceIds ids;
  std::vector<bool> used(json.size());
  for (const auto& [piece, value] : json.items()) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= used.size())
      core::user_error("{}: \"{}\" has the id {}; the ids of {} pieces are the whole numbers below that",
                       origin, core::shortened(piece, 40), core::shortened(value.dump(), 40), json.size());
    const auto id = value.get<std::size_t>();
    if (used[id])
      core::user_error("{}: the id {} is given twice, to \"{}\" too", origin, id, core::shortened(piece, 40));
    used[id] = true;
    ids.emplace(piece, static_cast<std::int32_t>(id));
  }
  return ids;
}

const core::Json& member(const core::Json& json, const char* key, const std::string& origin) {
  const auto found = json.find(key);
  if (found == json.end()) core::user_error("{}: \"{}\" is missing", origin, key);
  return *found;
}

}  // namespace

std::string read_tokenizer_file(const fs::path& path, std::uintmax_t largest) {
  if (!fs::exists(path))
    core::user_error("{}: no such file; put the tokenizer's file there{}", path.string(), how_to_fetch(path));
  if (!fs::is_regular_file(path)) core::user_error("{}: is no file", path.string());
  if (fs::file_size(path) > largest)
    core::user_error("{}: {} bytes are no tokenizer's file (at most {} are read)", path.string(),
                     fs::file_size(path), largest);
  std::string text = core::read_text(path);
  if (text.empty()) core::user_error("{}: is empty; fetch the file again", path.string());
  if (text.starts_with("version https://git-lfs"))
    core::user_error("{}: is a Git LFS pointer, not the file itself: fetch it with git lfs pull",
                     path.string());
  return text;
}

core::Json read_tokenizer_json(const fs::path& path, std::uintmax_t largest) {
  core::Json json = core::parse_json(read_tokenizer_file(path, largest), path.string());
  if (!json.is_object()) core::user_error("{}: not a JSON object", path.string());
  return json;
}

BpeVocabulary read_clip_merges_gz(const fs::path& path) {
  const std::string text = unpacked(read_tokenizer_file(path, kLargestTokenizerFile), path);
  if (const auto at = core::first_invalid_utf8(text))
    core::user_error("{}: byte {} of the unpacked text is not UTF-8: fetch the file again", path.string(),
                     *at);
  BpeVocabulary vocabulary{{}, {}, path.string()};
  const auto add = [&](std::string piece) {
    const auto id = static_cast<std::int32_t>(vocabulary.ids.size());
    if (const auto [at, fresh] = vocabulary.ids.emplace(std::move(piece), id); !fresh)
      core::user_error("{}: the piece \"{}\" comes twice", path.string(), core::shortened(at->first, 40));
  };
  const auto& characters = byte_characters();
  for (const char* end : {"", "</w>"}) {  // printable bytes first, as the original lists them
    for (const bool printable : {true, false})
      for (unsigned byte = 0; byte < 256; ++byte) {
        const std::string& character = characters[byte];
        if (printable == (static_cast<unsigned char>(character[0]) < 0xC4)) add(character + end);
      }
  }
  for_lines(text, [&](std::string_view line, std::size_t number) {
    if (number == 1) return true;
    vocabulary.merges.push_back(parse_merge(line, path.string(), number));
    add(vocabulary.merges.back().first + vocabulary.merges.back().second);
    return vocabulary.merges.size() < kClipMerges;
  });
  return vocabulary;
}

BpeVocabulary read_vocab_and_merges(const fs::path& vocabulary, const fs::path& merges) {
  BpeVocabulary out{
      parse_vocabulary(read_tokenizer_json(vocabulary, kLargestTokenizerFile), vocabulary.string()),
      {},
      merges.string()};
  for_lines(read_tokenizer_file(merges, kLargestTokenizerFile),
            [&](std::string_view line, std::size_t number) {
              if (line.ends_with('\r')) line.remove_suffix(1);
              if (!line.starts_with("#version"))
                out.merges.push_back(parse_merge(line, merges.string(), number));
              return out.merges.size() < kMostPieces;
            });
  return out;
}

BpeVocabulary bpe_of_tokenizer_json(const core::Json& json, const fs::path& path) {
  const std::string origin = path.string() + ": model";
  const core::Json& model = member(json, "model", path.string());
  if (!model.is_object() || model.value("type", core::Json("BPE")) != "BPE" ||
      model.value("end_of_word_suffix", core::Json()) != "</w>")
    core::user_error("{}: is no byte-level BPE whose end_of_word_suffix is \"</w>\" (CLIP's)", origin);
  BpeVocabulary out{parse_vocabulary(member(model, "vocab", origin), origin + ".vocab"), {}, origin};
  const core::Json& merges = member(model, "merges", origin);
  if (!merges.is_array() || merges.size() > kMostPieces)
    core::user_error("{}.merges: must be a list of at most {} merges", origin, kMostPieces);
  for (const core::Json& merge : merges) {
    const std::size_t number = out.merges.size() + 1;
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
      out.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    else if (merge.is_string())
      out.merges.push_back(parse_merge(merge.get_ref<const std::string&>(), origin + ".merges", number));
    else
      core::user_error("{}.merges: entry {} is neither \"a b\" nor [\"a\", \"b\"]", origin, number);
  }
  return out;
}

}  // namespace microdit::encoders
