// Fetches a dataset's files: source -> raw/NAME.
#include "data_job.h"

using namespace microdit;

int main(int argc, char** argv) {
  return jobs::data_job(argc, argv,
                        {.name = "download", .summary = "Fetches a dataset's files: source -> raw/NAME."},
                        ingest::download, ingest::describe_download);
}
