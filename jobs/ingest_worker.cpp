// ingest_worker: started by clean and precompute, in which it reads foreign archives and pictures. Not for people.
#include "ingest/worker_serve.h"

int main(int argc, char** argv) {
  return microdit::ingest::serve(argc, argv);
}
