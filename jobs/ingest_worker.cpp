// ingest_worker: started by clean and precompute, in which it reads foreign archives and pictures. Not for people.
#include <cstdio>
#include <string_view>

#include "ingest/worker_serve.h"

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    std::puts(
        "ingest_worker: clean and precompute start it themselves, from their own folder, to read foreign "
        "archives and\n"
        "pictures within limits of memory, time and files. Nobody else needs to start it.");
    return 0;
  }
  return microdit::ingest::serve(argc, argv);
}
