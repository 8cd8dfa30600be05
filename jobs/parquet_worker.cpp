// parquet_worker: started by clean, which reads foreign Parquet files of pictures in it. Not for people. A program of its own, as Arrow's
// library is large and the other workers start often.
#include <cstdio>
#include <string_view>

#include "ingest/parquet_serve.h"

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    std::puts(
        "parquet_worker: clean starts it itself, from its own folder, to read foreign Parquet files within "
        "limits of\n"
        "memory, time and files. Nobody else needs to start it.");
    return 0;
  }
  return microdit::ingest::serve_parquet(argc, argv);
}
