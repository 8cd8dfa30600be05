// Fetches a dataset's files: source -> raw/NAME; or a network's: -> weights/NAME.
#include "data_job.h"

using namespace microdit;

int main(int argc, char** argv) {
  return jobs::data_job(
      argc, argv,
      {.name = "download",
       .summary =
           "Fetches a dataset's files: source -> raw/NAME; a network's (kind: weights) -> weights/NAME."},
      ingest::download, ingest::describe_download);
}
