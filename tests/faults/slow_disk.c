// LD_PRELOAD: a disk far away. Every open and every read below the folder MICRODIT_SLOW_DISK takes MICRODIT_SLOW_MS (5) milliseconds
// longer, reads also their bytes at MICRODIT_SLOW_MB_S (200) a second; mmap of its files and io_uring are refused, and nothing is
// ever in the page cache (RWF_NOWAIT). Its counts go to the file MICRODIT_SLOW_COUNTS when the process ends: "opens reads bytes".
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { kMaxFd = 65536, kIoUringSetup = 425 };
static atomic_char slow[kMaxFd];
static atomic_long opens, reads, bytes_read;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static double setting(const char* name, double otherwise) {
  const char* text = getenv(name);
  return text != NULL ? atof(text) : otherwise;
}

static void wait_for(double seconds) {
  struct timespec left = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

static int is_slow(int fd) { return fd >= 0 && fd < kMaxFd && slow[fd]; }

// A descriptor that was just opened: whether it lies below the folder.
static int opened(int fd) {
  const char* folder = getenv("MICRODIT_SLOW_DISK");
  char link[64], path[4096];
  const int error = errno;
  if (fd < 0 || fd >= kMaxFd) return fd;
  slow[fd] = 0;
  if (folder == NULL) return fd;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return fd;
  path[length] = '\0';
  if (strncmp(path, folder, strlen(folder)) == 0) {
    slow[fd] = 1;
    opens++;
    wait_for(setting("MICRODIT_SLOW_MS", 5) / 1e3);
  }
  errno = error;
  return fd;
}

static ssize_t was_read(int fd, ssize_t got) {
  const int error = errno;
  if (is_slow(fd)) {
    reads++;
    if (got > 0) bytes_read += got;
    wait_for(setting("MICRODIT_SLOW_MS", 5) / 1e3 + (got > 0 ? got / (setting("MICRODIT_SLOW_MB_S", 200) * 1e6) : 0));
  }
  errno = error;
  return got;
}

static mode_t mode_of(int flags, va_list rest) {
  return flags & (O_CREAT | __O_TMPFILE) ? (mode_t)va_arg(rest, unsigned) : 0;
}

#define OPEN(name)                                       \
  int name(const char* path, int flags, ...) {           \
    va_list rest;                                        \
    va_start(rest, flags);                               \
    const mode_t mode = mode_of(flags, rest);            \
    va_end(rest);                                        \
    return opened(REAL(name)(path, flags, mode));        \
  }
#define OPENAT(name)                                     \
  int name(int at, const char* path, int flags, ...) {   \
    va_list rest;                                        \
    va_start(rest, flags);                               \
    const mode_t mode = mode_of(flags, rest);            \
    va_end(rest);                                        \
    return opened(REAL(name)(at, path, flags, mode));    \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

FILE* fopen(const char* path, const char* mode) {
  FILE* file = REAL(fopen)(path, mode);
  if (file != NULL) opened(fileno(file));
  return file;
}
FILE* fopen64(const char* path, const char* mode) {
  FILE* file = REAL(fopen64)(path, mode);
  if (file != NULL) opened(fileno(file));
  return file;
}
size_t fread(void* to, size_t size, size_t count, FILE* file) {
  const size_t got = REAL(fread)(to, size, count, file);
  was_read(fileno(file), (ssize_t)(got * size));
  return got;
}

ssize_t read(int fd, void* to, size_t count) { return was_read(fd, REAL(read)(fd, to, count)); }
ssize_t pread(int fd, void* to, size_t count, off_t at) { return was_read(fd, REAL(pread)(fd, to, count, at)); }
ssize_t pread64(int fd, void* to, size_t count, off64_t at) { return was_read(fd, REAL(pread64)(fd, to, count, at)); }
ssize_t readv(int fd, const struct iovec* to, int count) { return was_read(fd, REAL(readv)(fd, to, count)); }
ssize_t preadv(int fd, const struct iovec* to, int count, off_t at) {
  return was_read(fd, REAL(preadv)(fd, to, count, at));
}
ssize_t preadv64(int fd, const struct iovec* to, int count, off64_t at) {
  return was_read(fd, REAL(preadv64)(fd, to, count, at));
}
// Nothing of this disk is in memory.
static int not_cached(int fd, int flags) {
  if (!is_slow(fd) || !(flags & RWF_NOWAIT)) return 0;
  errno = EAGAIN;
  return 1;
}
ssize_t preadv2(int fd, const struct iovec* to, int count, off_t at, int flags) {
  if (not_cached(fd, flags)) return -1;
  return was_read(fd, REAL(preadv2)(fd, to, count, at, flags));
}
ssize_t preadv64v2(int fd, const struct iovec* to, int count, off64_t at, int flags) {
  if (not_cached(fd, flags)) return -1;
  return was_read(fd, REAL(preadv64v2)(fd, to, count, at, flags));
}

int close(int fd) {
  if (fd >= 0 && fd < kMaxFd) slow[fd] = 0;
  return REAL(close)(fd);
}

static void* refused(void) {
  errno = ENODEV;
  return MAP_FAILED;
}
void* mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) {
  return is_slow(fd) ? refused() : REAL(mmap)(at, size, protection, flags, fd, offset);
}
void* mmap64(void* at, size_t size, int protection, int flags, int fd, off64_t offset) {
  return is_slow(fd) ? refused() : REAL(mmap64)(at, size, protection, flags, fd, offset);
}

long syscall(long number, ...) {
  long part[6];
  va_list rest;
  va_start(rest, number);
  for (int i = 0; i < 6; ++i) part[i] = va_arg(rest, long);
  va_end(rest);
  if (number == kIoUringSetup && getenv("MICRODIT_SLOW_DISK") != NULL) {
    errno = ENOSYS;
    return -1;
  }
  return REAL(syscall)(number, part[0], part[1], part[2], part[3], part[4], part[5]);
}

__attribute__((destructor)) static void report(void) {
  const char* path = getenv("MICRODIT_SLOW_COUNTS");
  char line[128];
  if (path == NULL || opens == 0) return;
  const int length = snprintf(line, sizeof line, "%ld %ld %ld\n", (long)opens, (long)reads, (long)bytes_read);
  const int fd = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (fd >= 0 && write(fd, line, (size_t)length) < 0) return;
}
