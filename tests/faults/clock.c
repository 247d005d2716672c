/* Preload this library to shift the wall clock of a process and its children by CLOCK_AHEAD_S seconds.
   Monotonic clocks are not changed. libfaketime would also make time-outs of locks an hour longer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t ahead_s(void) {
  const char *text = getenv("CLOCK_AHEAD_S");
  return text ? atol(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *at) {
  int failed = (int)syscall(SYS_clock_gettime, id, at);
  if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += ahead_s();
  return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}

/* Without sem_clockwait, Python computes time-outs of locks from the shifted clock; the kernel uses the true one. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
  int (*wait)(sem_t *, const struct timespec *) = dlsym(RTLD_NEXT, "sem_timedwait");
  struct timespec truly = {until->tv_sec - ahead_s(), until->tv_nsec};
  return wait(semaphore, &truly);
}
