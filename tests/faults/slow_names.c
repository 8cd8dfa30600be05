// LD_PRELOAD: a name server that answers late. Looking up a name that ends with MICRODIT_SLOW_NAMES takes MICRODIT_SLOW_NAMES_S
// seconds (40 when it is not set) and fails then; others are looked up as ever.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char* name, const char* service, const struct addrinfo* hints, struct addrinfo** found) {
  const char* slow = getenv("MICRODIT_SLOW_NAMES");
  const char* seconds = getenv("MICRODIT_SLOW_NAMES_S");
  const size_t all = name != NULL ? strlen(name) : 0, end = slow != NULL ? strlen(slow) : 0;
  if (end > 0 && all >= end && strcmp(name + all - end, slow) == 0) {
    sleep(seconds != NULL ? (unsigned)atoi(seconds) : 40);
    return EAI_AGAIN;
  }
  return ((__typeof__(&getaddrinfo))dlsym(RTLD_NEXT, "getaddrinfo"))(name, service, hints, found);
}
