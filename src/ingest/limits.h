// Every limit on foreign bytes, one line each: what a dataset's files may ask of this machine. Libraries below ingest keep the
// limits of a format beside its parser: nesting of JSON and YAML, safetensors headers (core/json.cpp, config_yaml.cpp,
// safetensors_header.h), PyTorch's files (core/torch_limits.h), tokenizers (encoders/tokenizer_limits.h), sizes in a network's
// config.json (encoders/weights_folder.h), shards (store/hdf5_file.cpp), index.bin (store/latent_index.cpp), MDS
// (stream/mds_index.h, MdsLimits).
#pragma once

#include <cstdint>

namespace microdit::ingest::limits {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kGiB = 1u << 30;

// Archives.
constexpr std::size_t kPieceBytes = 4 * kMiB;       ///< of a table that is handed on at once
constexpr std::uint64_t kTableBytes = 1ull << 40;   ///< of a table within an archive
constexpr std::uint64_t kRecordBytes = 96 * kMiB;   ///< of all wanted members of one record, holes included
constexpr std::uint64_t kItemRecords = 10'000'000;  ///< of one raw file, or range of loose ones
constexpr std::uint64_t kFreeRecords = 1'000'000;   ///< that any may hold, beyond:
constexpr std::uint64_t kBytesPerRecord = 16;       ///< of the raw files; the smallest picture has more
constexpr std::uint64_t records_of(std::uint64_t bytes) {
  const std::uint64_t most = kFreeRecords + bytes / kBytesPerRecord;
  return most < kItemRecords ? most : kItemRecords;
}
constexpr std::size_t kClasses = 65'536;             ///< of one entry
constexpr int kRecordMembers = 16;                   ///< wanted members of one record
constexpr std::ptrdiff_t kStemHalves = 16'384;       ///< halves of one stem whose names are held
constexpr std::uint64_t kExpansion = 100;            ///< unpacked : packed, beyond kFreeExpansion
constexpr std::uint64_t kFreeExpansion = 64 * kMiB;  ///< unpacked bytes that any archive may hold
constexpr std::uint64_t kMemberNameBytes = 4096;     ///< of a member's path
constexpr int kReopenings = 100;                     ///< of one zip, each to get past a broken member
constexpr std::uint64_t kSidecarBytes = kMiB;        ///< of a record's .json
constexpr std::uint64_t kCaptionBytes = 64 * 1024;   ///< of one caption, before cleaning

// Pictures.
constexpr std::int64_t kPixelsPerByte = 4096;            ///< of large pictures; more is a bomb
constexpr std::int64_t kPixels = 178'956'970;            ///< Pillow refuses more (twice its warning limit)
constexpr std::int64_t kSide = 65'535;                   ///< pixels
constexpr int kJpegScans = 100;                          ///< of a progressive JPEG
constexpr std::int64_t kJpegScanPixels = 2'000'000'000;  ///< scans x pixels: what they cost in time
constexpr std::int64_t kPictureSizes = 16;               ///< sizes made from one decoded picture

// Worker processes, in which archives and pictures are read.
constexpr std::uint64_t kWorkerMemory = 2 * kGiB;   ///< address space
constexpr std::uint64_t kParquetMemory = 4 * kGiB;  ///< address space of one that reads Parquet; of it
constexpr std::int64_t kParquetBytes = 3 * kGiB;    ///< what is decoded: a page is held two or three times
constexpr int kPictureSeconds = 20;                 ///< of CPU, one picture: to be accepted
constexpr int kSquaresSeconds =
    5 * kPictureSeconds;                   ///< likewise: an accepted one, decoded and resized elsewhere
constexpr int kArchiveSecondsPerGiB = 60;  ///< of CPU, per GiB of archive begun
constexpr int kWorkerFiles = 16;           ///< open files
constexpr std::uint64_t kKeptSharedBytes = 16 * kMiB;  ///< of shared memory kept between two pictures

// Transfers.
constexpr std::uint64_t kHeaderBytes = 64 * 1024;  ///< of one answer's header lines, trailers included
constexpr int kHeaderLines = 200;                  ///< likewise
constexpr std::size_t kAddressBytes = 16 * 1024;   ///< of one, escaped; signed ones are long
constexpr std::size_t kHostBytes = 253;            ///< of a name (RFC 1035)
constexpr int kRedirects = 5;                      ///< hops of one request
constexpr std::uint64_t kErrorPageBytes = kMiB;  ///< of an error's or a redirect's body; then the line is cut
constexpr std::uint64_t kListingBytes = 16 * kMiB;  ///< of one page of the hub's listing
constexpr int kListingPages = 10'000;               ///< of 1,000 entries, folders among them
constexpr std::uint64_t kProgressBytes = kMiB;      ///< new bytes after which the attempts count anew
constexpr double kSlowBytesPerSecond = 16 * 1024;   ///< slower than this over kSlowSeconds: the line is cut
constexpr double kSlowSeconds = 60;
constexpr long kConnectSeconds = 30;         ///< until a connection stands
constexpr double kBackoffSeconds = 60;       ///< longest wait between two tries
constexpr double kRetryAfterSeconds = 3600;  ///< longest that a server may ask for
constexpr double kBusySeconds = 2 * 3600.0;  ///< how long one that answers 429, 502, 503, 504 is waited for
constexpr double kOutageSeconds = 24 * 3600.0;  ///< how long a silent server is waited for
constexpr double kFreeFraction = 0.05;          ///< of the disk stays free, or kFreeBytes where that is less
constexpr std::uint64_t kFreeBytes = 10 * kGiB;
constexpr std::size_t kHeadBytes = 512;          ///< that tell what a file is
constexpr std::size_t kSourceFiles = 1'000'000;  ///< of one entry

}  // namespace microdit::ingest::limits
