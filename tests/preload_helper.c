/* SPDX-License-Identifier: MIT */
/*
 * An ordinary program that asks for the time, for preload_test.py. It knows nothing of clockpage.
 * One argument says what it does; 0: as it should be, else one line says what is not.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static const struct {
  const char* name;
  clockid_t clock;
} clocks[] = {
    {"realtime", CLOCK_REALTIME},
    {"monotonic", CLOCK_MONOTONIC},
    {"raw", CLOCK_MONOTONIC_RAW},
    {"boottime", CLOCK_BOOTTIME},
    {"tai", CLOCK_TAI},
    {"realtime_coarse", CLOCK_REALTIME_COARSE},
    {"monotonic_coarse", CLOCK_MONOTONIC_COARSE},
    {"cpu", CLOCK_PROCESS_CPUTIME_ID},
};
enum { CLOCKS = sizeof(clocks) / sizeof(clocks[0]) };

static void expect(int good, const char* what) {
  if (good) return;
  printf("not so: %s (errno %d)\n", what, errno);
  exit(1);
}
#define EXPECT(condition) expect(condition, #condition)

static int64_t ns_of(struct timespec ts) { return ts.tv_sec * SECOND + ts.tv_nsec; }

static int64_t read_ns(clockid_t clock) {
  struct timespec ts;
  EXPECT(clock_gettime(clock, &ts) == 0);
  EXPECT(ts.tv_nsec >= 0 && ts.tv_nsec < SECOND);
  return ns_of(ts);
}

static int64_t kernel_ns(clockid_t clock) {
  struct timespec ts;
  EXPECT(syscall(SYS_clock_gettime, clock, &ts) == 0);
  return ns_of(ts);
}

int64_t preload_early_ns(void); /* preload_early.c */

static int64_t at_construction;
__attribute__((constructor)) static void construct(void) {
  at_construction = read_ns(CLOCK_REALTIME);
}

static volatile int64_t ends_at; /* keeps the end of a process honest, too */
__attribute__((destructor)) static void destruct(void) { ends_at = read_ns(CLOCK_REALTIME); }

/* Each clock, as the C library says it and as the kernel does, ns: JSON. */
static void print_clocks(void) {
  printf("{\"library_constructor\": %" PRId64 ", \"constructor\": %" PRId64, preload_early_ns(),
         at_construction);
  for (int i = 0; i < CLOCKS; i++) {
    const int64_t ns = read_ns(clocks[i].clock); /* before the kernel's */
    printf(", \"%s\": %" PRId64 ", \"kernel_%s\": %" PRId64, clocks[i].name, ns, clocks[i].name,
           kernel_ns(clocks[i].clock));
  }
  printf("}\n");
  fflush(stdout);
}

struct old_time { /* struct timeb of <sys/timeb.h>, which not every C library has any more */
  time_t time;
  unsigned short millitm;
  short timezone, dstflag;
};

/* All functions tell one time: each reading lies between its neighbours. */
static void one_time(void) {
  int (*old_ftime)(struct old_time*) = (int (*)(struct old_time*))dlsym(RTLD_DEFAULT, "ftime");
  EXPECT(old_ftime != NULL);
  errno = ENOTTY;
  for (int i = 0; i < 1000; i++) {
    struct timeval tv;
    struct timezone zone = {7, 7};
    struct timespec ts;
    struct old_time old = {0, 0, 7, 7};
    time_t seconds = 0, same;
    int64_t first = read_ns(CLOCK_REALTIME), last;
    same = time(&seconds);
    EXPECT(same == seconds && same == time(NULL));
    EXPECT(gettimeofday(&tv, &zone) == 0);
    EXPECT(gettimeofday(&tv, NULL) == 0);
    EXPECT(timespec_get(&ts, TIME_UTC) == TIME_UTC);
    EXPECT(timespec_get(&ts, 77) == 0);
    EXPECT(old_ftime(&old) == 0);
    last = read_ns(CLOCK_REALTIME);
    if (last / SECOND != first / SECOND) /* a second has passed: again */
      continue;
    EXPECT(seconds == first / SECOND);
    EXPECT(first / 1000 <= tv.tv_sec * INT64_C(1000000) + tv.tv_usec);
    EXPECT(tv.tv_sec * INT64_C(1000000) + tv.tv_usec <= last / 1000);
    EXPECT(first <= ns_of(ts) && ns_of(ts) <= last);
    EXPECT(first / 1000000 <= old.time * INT64_C(1000) + old.millitm);
    EXPECT(old.time * INT64_C(1000) + old.millitm <= last / 1000000);
    EXPECT(old.timezone == 0 && old.dstflag == 0);
    EXPECT(zone.tz_minuteswest == 0 && zone.tz_dsttime == 0);
  }
  EXPECT(errno == ENOTTY);
}

static void errors(void) {
  const clockid_t bad[] = {-1, 12, 999, INT32_MAX};
  struct timespec ts = {5, 6};
  for (int i = 0; i < CLOCKS - 3; i++) {
    errno = ENOTTY;
    EXPECT(clock_getres(clocks[i].clock, &ts) == 0 && ts.tv_sec == 0 && ts.tv_nsec == 1);
    EXPECT(clock_getres(clocks[i].clock, NULL) == 0);
    EXPECT(errno == ENOTTY);
  }
  ts = (struct timespec){5, 6};
  for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    errno = 0;
    EXPECT(clock_gettime(bad[i], &ts) == -1 && errno == EINVAL);
    errno = 0;
    EXPECT(clock_getres(bad[i], &ts) == -1 && errno == EINVAL);
  }
  EXPECT(ts.tv_sec == 5 && ts.tv_nsec == 6);
  errno = ENOTTY;
  EXPECT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == 0 && errno == ENOTTY);
}

/* A null timespec: how the process ends is what it is without the library. */
static void null(void) {
  struct timespec* volatile nowhere = NULL;
  struct timeval* volatile no_time = NULL;
  EXPECT(gettimeofday(no_time, NULL) == 0); /* NOLINT: that is the question */
  fflush(stdout);
  clock_gettime(CLOCK_REALTIME, nowhere);
}

/* A forked child's clocks, and those of what it executes. */
static void fork_and_exec(const char* self) {
  int64_t before = read_ns(CLOCK_REALTIME), after, kernel = kernel_ns(CLOCK_REALTIME);
  int status;
  pid_t child = fork();
  if (child == 0)
    _exit(read_ns(CLOCK_REALTIME) >= before &&
                  llabs(read_ns(CLOCK_REALTIME) - before) < llabs(before - kernel) / 2 + SECOND
              ? 0
              : 1);
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
  after = read_ns(CLOCK_REALTIME);
  EXPECT(before <= after);
  execl(self, self, "clocks", NULL);
  expect(0, "execl");
}

static volatile sig_atomic_t handled;
static void handle(int signal) {
  struct timespec ts;
  (void)signal;
  if (clock_gettime(CLOCK_REALTIME, &ts) == 0) handled++;
}

/* Reads in a handler that interrupts reads, and malloc. */
static void signals(void) {
  const struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
  const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
  int64_t last = read_ns(CLOCK_MONOTONIC), now;
  EXPECT(sigaction(SIGALRM, &action, NULL) == 0);
  EXPECT(setitimer(ITIMER_REAL, &often, NULL) == 0);
  while (handled < 1000) {
    free(malloc((size_t)rand() % 100000));
    now = read_ns(CLOCK_MONOTONIC);
    EXPECT(now >= last);
    last = now;
  }
  EXPECT(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

static int64_t newest; /* atomic: the latest time that any thread has seen */

static void* follow(void* until) {
  while (!__atomic_load_n((int*)until, __ATOMIC_RELAXED)) {
    int64_t seen = __atomic_load_n(&newest, __ATOMIC_ACQUIRE);
    int64_t now = read_ns(CLOCK_MONOTONIC);
    EXPECT(now >= seen);
    while (seen < now &&
           !__atomic_compare_exchange_n(&newest, &seen, now, 0, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
      ;
  }
  return NULL;
}

static void threads(void) {
  pthread_t thread[4];
  int until = 0;
  for (int i = 0; i < 4; i++) EXPECT(pthread_create(&thread[i], NULL, follow, &until) == 0);
  usleep(300000);
  __atomic_store_n(&until, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < 4; i++) EXPECT(pthread_join(thread[i], NULL) == 0);
  EXPECT(newest > 0);
}

/* The clocks, again for each line of stdin. */
static void watch(void) {
  char line[16];
  while (fgets(line, sizeof(line), stdin)) print_clocks();
}

/* Loaded late: nothing of the program is bound to it, but it does no harm. */
static void load(const char* library) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  int (*gettime)(clockid_t, struct timespec*);
  struct timespec ts;
  if (!handle) printf("%s\n", dlerror());
  EXPECT(handle != NULL);
  gettime = (int (*)(clockid_t, struct timespec*))dlsym(handle, "clock_gettime");
  EXPECT(gettime != NULL && gettime(CLOCK_REALTIME, &ts) == 0);
  printf("{\"loaded\": %" PRId64 ", \"own\": %" PRId64 "}\n", ns_of(ts), read_ns(CLOCK_REALTIME));
  EXPECT(dlclose(handle) == 0);
  EXPECT(gettime(CLOCK_REALTIME, &ts) == 0); /* it stays */
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "clocks") == 0)
    print_clocks();
  else if (strcmp(what, "one_time") == 0)
    one_time();
  else if (strcmp(what, "errors") == 0)
    errors();
  else if (strcmp(what, "null") == 0)
    null();
  else if (strcmp(what, "fork") == 0)
    fork_and_exec(argv[0]);
  else if (strcmp(what, "signals") == 0)
    signals();
  else if (strcmp(what, "threads") == 0)
    threads();
  else if (strcmp(what, "watch") == 0)
    watch();
  else if (strcmp(what, "load") == 0 && argc > 2)
    load(argv[2]);
  else
    return 2;
  return 0;
}
