// Pictures and captions -> latents: samples/NAME -> latents/NAME.
#include "data_job.h"

using namespace microdit;

int main(int argc, char** argv) {
  return jobs::data_job(
      argc, argv,
      {.name = "precompute", .summary = "Pictures and captions -> latents: samples/NAME -> latents/NAME."},
      ingest::precompute, ingest::describe_precompute);
}
