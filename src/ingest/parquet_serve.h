// The inside of the program parquet_worker: limits first, then the rows of a foreign Parquet file.
#pragma once

namespace microdit::ingest {

/// parquet_worker PROTOCOL rows NAME PICTURE [COLUMN...]: sends each row of the file kWorkerFile as a member: the bytes are its picture's, the
/// name its other cells (tables::append_row; texts cut behind limits::kCaptionBytes + 1), the skip unsupported.oversize or unsupported.no_bytes
/// (its picture is a path alone). PICTURE names a column of bytes, or a group with one `bytes` in it. Returns the exit code.
int serve_parquet(int argc, char** argv);

}  // namespace microdit::ingest
