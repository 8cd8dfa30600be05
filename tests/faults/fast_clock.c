// For LD_PRELOAD: a steady clock that runs MICRODIT_FAST_CLOCK times as fast, for what waits for hours.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec* now) {
  static double factor, begin;
  const int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result != 0 || clock != CLOCK_MONOTONIC) return result;
  if (factor == 0) {
    const char* text = getenv("MICRODIT_FAST_CLOCK");
    begin = (double)now->tv_sec;
    factor = text ? atof(text) : 1;
  }
  const double seconds = (double)now->tv_sec + (double)now->tv_nsec * 1e-9;
  const double fast = begin + (seconds - begin) * factor;
  now->tv_sec = (time_t)fast;
  now->tv_nsec = (long)((fast - (double)now->tv_sec) * 1e9);
  return 0;
}
