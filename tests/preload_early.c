/* SPDX-License-Identifier: MIT */
/* For preload_test.py: a library whose static constructor asks for the time. */
#include <stdint.h>
#include <time.h>

int64_t preload_early_ns(void);

static int64_t early_ns;

__attribute__((constructor)) static void construct(void) {
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  early_ns = ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

int64_t preload_early_ns(void) { return early_ns; }
