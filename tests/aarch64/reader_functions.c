/* SPDX-License-Identifier: MIT */
/* One function for each way into the reader, for barriers_test.py to disassemble. */
#include <clockpage/reader.h>

int now(const struct clockpage_reader* reader, int64_t* ns);
int now_bounds(const struct clockpage_reader* reader, struct clockpage_time* out);
int now_relaxed(const struct clockpage_reader* reader, int64_t* ns);
int at(const struct clockpage_reader* reader, uint64_t counter, int64_t* ns);
uint64_t counter_ordered(void);
uint64_t counter_after_stores(void);

int now(const struct clockpage_reader* reader, int64_t* ns) {
  return clockpage_now(reader, CLOCKPAGE_REALTIME, ns);
}

int now_bounds(const struct clockpage_reader* reader, struct clockpage_time* out) {
  return clockpage_now_bounds(reader, CLOCKPAGE_REALTIME, out);
}

int now_relaxed(const struct clockpage_reader* reader, int64_t* ns) {
  return clockpage_now_relaxed(reader, CLOCKPAGE_REALTIME, ns);
}

int at(const struct clockpage_reader* reader, uint64_t counter, int64_t* ns) {
  return clockpage_at(reader, CLOCKPAGE_REALTIME, counter, ns);
}

uint64_t counter_ordered(void) { return clockpage_counter_ordered(); }

uint64_t counter_after_stores(void) { return clockpage_counter_after_stores(); }
