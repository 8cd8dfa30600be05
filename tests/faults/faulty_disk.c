// LD_PRELOAD: a file system that fails on demand. MICRODIT_FAULT="OPERATION:PART_OF_PATH:ERRNO" (open, list, stat, link,
// flock, read, write, fsync or any), while the file that MICRODIT_FAULT_WHILE names exists (always, when it is not set), after the
// first MICRODIT_FAULT_AFTER times (0, when it is not set).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int times;

static int fails(const char* operation, const char* path) {
  const char* wanted = getenv("MICRODIT_FAULT");
  const char* condition = getenv("MICRODIT_FAULT_WHILE");
  const char* after = getenv("MICRODIT_FAULT_AFTER");
  char rule[512], *part, *number;
  if (wanted == NULL || path == NULL || strlen(wanted) >= sizeof rule) return 0;
  if (condition != NULL && access(condition, F_OK) != 0) return 0;
  strcpy(rule, wanted);
  part = strchr(rule, ':');
  number = strrchr(rule, ':');
  if (part == NULL || part == number) return 0;
  *part++ = '\0';
  *number++ = '\0';
  if ((strcmp(rule, operation) != 0 && strcmp(rule, "any") != 0) || strstr(path, part) == NULL) return 0;
  if (after != NULL && atomic_fetch_add(&times, 1) < atoi(after)) return 0;
  errno = atoi(number);
  return 1;
}

static int fails_on(const char* operation, int fd) {
  char link[64], path[4096];
  ssize_t length;
  if (getenv("MICRODIT_FAULT") == NULL) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return fails(operation, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                              \
  int name(const char* path, int flags, ...) {                  \
    va_list rest;                                               \
    mode_t mode;                                                \
    va_start(rest, flags);                                      \
    mode = va_arg(rest, mode_t);                                \
    va_end(rest);                                               \
    return fails("open", path) ? -1 : REAL(name)(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

int openat(int folder, const char* path, int flags, ...) {
  va_list rest;
  mode_t mode;
  va_start(rest, flags);
  mode = va_arg(rest, mode_t);
  va_end(rest);
  return (flags & O_DIRECTORY) != 0 && fails("list", path) ? -1 : REAL(openat)(folder, path, flags, mode);
}

int link(const char* from, const char* to) { return fails("link", from) ? -1 : REAL(link)(from, to); }
int stat(const char* path, struct stat* about) { return fails("stat", path) ? -1 : REAL(stat)(path, about); }
int stat64(const char* path, struct stat64* about) { return fails("stat", path) ? -1 : REAL(stat64)(path, about); }

ssize_t read(int fd, void* to, size_t count) { return fails_on("read", fd) ? -1 : REAL(read)(fd, to, count); }
ssize_t pread(int fd, void* to, size_t count, off_t at) {
  return fails_on("read", fd) ? -1 : REAL(pread)(fd, to, count, at);
}
ssize_t pread64(int fd, void* to, size_t count, off64_t at) {
  return fails_on("read", fd) ? -1 : REAL(pread64)(fd, to, count, at);
}
ssize_t write(int fd, const void* from, size_t count) {
  return fails_on("write", fd) ? -1 : REAL(write)(fd, from, count);
}
ssize_t pwrite(int fd, const void* from, size_t count, off_t at) {
  return fails_on("write", fd) ? -1 : REAL(pwrite)(fd, from, count, at);
}
ssize_t pwrite64(int fd, const void* from, size_t count, off64_t at) {
  return fails_on("write", fd) ? -1 : REAL(pwrite64)(fd, from, count, at);
}
int fsync(int fd) { return fails_on("fsync", fd) ? -1 : REAL(fsync)(fd); }
int flock(int fd, int operation) { return fails_on("flock", fd) ? -1 : REAL(flock)(fd, operation); }
