/* SPDX-License-Identifier: MIT */
/* For preload_test.py: linked statically, so that no library can be put before the C library. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

int main(void) {
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  printf("%" PRId64 "\n", ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec);
  return 0;
}
