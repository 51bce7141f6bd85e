/* SPDX-License-Identifier: MIT */
/* That clockpage.h is C11: called by clockpage_test.cpp. */
#include <clockpage/clockpage.h>

int clockpage_c_test_read(const char* directory, int64_t* ns, struct clockpage_open_error* error) {
  struct clockpage_open_options options = {.size = sizeof options, .directory = directory};
  struct clockpage_region* region;
  int code = clockpage_open(&options, &region, error);
  if (code) return code;
  code = clockpage_now(clockpage_reader_of(region), CLOCKPAGE_REALTIME, ns);
  clockpage_close(region);
  return code;
}
