// Archives -> records -> filters -> samples shards: raw/NAME -> samples/NAME.
#include "data_job.h"

using namespace microdit;

int main(int argc, char** argv) {
  return jobs::data_job(
      argc, argv,
      {.name = "clean",
       .summary = "Archives -> records -> filters -> samples shards: raw/NAME -> samples/NAME."},
      ingest::clean, ingest::describe_clean);
}
