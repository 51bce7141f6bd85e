/* SPDX-License-Identifier: MIT */
/* One function for each way into the reader, for barriers_test.py to disassemble. */
#include <clockpage/reader.h>
#include <clockpage/view.h>

int now(const struct clockpage_reader* reader, int64_t* ns);
int now_bounds(const struct clockpage_reader* reader, struct clockpage_time* out);
int now_relaxed(const struct clockpage_reader* reader, int64_t* ns);
int at(const struct clockpage_reader* reader, uint64_t counter, int64_t* ns);
uint64_t counter_ordered(void);
uint64_t counter_after_stores(void);
int view_now(const struct clockpage_view_reader* reader, int64_t* ns);
int view_now_bounds(const struct clockpage_view_reader* reader, struct clockpage_view_time* out);
int view_at(const struct clockpage_view_reader* reader, uint64_t counter, uint64_t marker,
            int64_t* ns);
int view_marker(const struct clockpage_view_reader* reader, uint64_t* marker);

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

int view_now(const struct clockpage_view_reader* reader, int64_t* ns) {
  return clockpage_view_now(reader, CLOCKPAGE_MONOTONIC, ns);
}

int view_now_bounds(const struct clockpage_view_reader* reader, struct clockpage_view_time* out) {
  return clockpage_view_now_bounds(reader, CLOCKPAGE_MONOTONIC, out);
}

int view_at(const struct clockpage_view_reader* reader, uint64_t counter, uint64_t marker,
            int64_t* ns) {
  return clockpage_view_at(reader, CLOCKPAGE_MONOTONIC, counter, marker, ns);
}

int view_marker(const struct clockpage_view_reader* reader, uint64_t* marker) {
  return clockpage_view_marker(reader, marker);
}
