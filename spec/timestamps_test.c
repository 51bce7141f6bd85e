/* SPDX-License-Identifier: MIT */
/*
 * clockpage/timestamp.h over the golden timestamps: decoding, encoding and comparing give what
 * spec/timestamps says.
 *
 * Usage: timestamps_test DIR. Prints each difference; exit 1 if there is one.
 */
#include <clockpage/timestamp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES 128

static unsigned cases, wrong;

static void check(int good, const char* name, const char* what) {
  cases++;
  if (good) return;
  wrong++;
  printf("%s: %s\n", name, what);
}

static void not_a_case(const char* line) {
  fprintf(stderr, "not a case: %s\n", line);
  exit(1);
}

/* The number of bytes in `hex`; "-": none. */
static size_t parse_hex(const char* hex, uint8_t* bytes) {
  size_t length = strcmp(hex, "-") ? strlen(hex) / 2 : 0;
  if (length > MAX_BYTES) not_a_case(hex);
  for (size_t i = 0; i < length; i++) {
    const char byte[] = {hex[2 * i], hex[2 * i + 1], 0};
    bytes[i] = (uint8_t)strtoul(byte, NULL, 16);
  }
  return length;
}

static void check_fields(const char* name, const struct clockpage_timestamp* t, const char* text) {
  struct clockpage_timestamp e;
  uint8_t id[MAX_BYTES], got_id[16];
  char hex[2 * MAX_BYTES + 1];
  if (sscanf(text,
             "%" SCNu8 " %" SCNu8 " %" SCNu8 " %" SCNu8 " %" SCNu32 " %" SCNd32 " %" SCNu32
             " %32s %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNu64,
             &e.time_scale, &e.status, &e.flags, &e.resolution_ns, &e.epoch, &e.smear_start_s,
             &e.smear_length_s, hex, &e.ns, &e.earliest_ns, &e.latest_ns,
             &e.disruption_marker) != 12 ||
      parse_hex(hex, id) != 16)
    not_a_case(text);
  for (unsigned i = 0; i < 16; i++) got_id[i] = (uint8_t)(t->clock_id[i / 8] >> 8 * (i % 8));
  check(t->time_scale == e.time_scale && t->status == e.status && t->flags == e.flags &&
            t->resolution_ns == e.resolution_ns && t->epoch == e.epoch &&
            t->smear_start_s == e.smear_start_s && t->smear_length_s == e.smear_length_s &&
            !memcmp(got_id, id, 16) && t->ns == e.ns && t->earliest_ns == e.earliest_ns &&
            t->latest_ns == e.latest_ns && t->disruption_marker == e.disruption_marker,
        name, "other fields");
}

static void check_decode(const char* line) {
  char name[64], hex[2 * MAX_BYTES + 2];
  uint8_t bytes[MAX_BYTES], again[CLOCKPAGE_TIMESTAMP_SIZE];
  struct clockpage_timestamp t, untouched;
  size_t length;
  int expected, error, used = 0;
  if (sscanf(line, "%63s %257s %d%n", name, hex, &expected, &used) != 3) not_a_case(line);
  length = parse_hex(hex, bytes);
  memset(&t, 0x5a, sizeof t);
  untouched = t;
  error = clockpage_timestamp_decode(bytes, length, &t);
  check(error == expected, name, "clockpage_timestamp_decode: another error");
  if (error) {
    check(!memcmp(&t, &untouched, sizeof t), name, "written in spite of an error");
    return;
  }
  check_fields(name, &t, line + used);
  memset(again, 0x5a, sizeof again);
  check(!clockpage_timestamp_encode(&t, again) && !memcmp(again, bytes, sizeof again), name,
        "clockpage_timestamp_encode: other bytes");
}

static struct clockpage_timestamp decoded(const char* hex, const char* line) {
  uint8_t bytes[MAX_BYTES];
  struct clockpage_timestamp t;
  if (clockpage_timestamp_decode(bytes, parse_hex(hex, bytes), &t)) not_a_case(line);
  return t;
}

static void check_compare(const char* line) {
  char name[64], hex_a[130], hex_b[130];
  struct clockpage_timestamp a, b;
  int error, before, after, one, got = 7, turned = 7;
  if (sscanf(line, "%63s %129s %129s %d %d %d %d", name, hex_a, hex_b, &error, &before, &after,
             &one) != 7)
    not_a_case(line);
  a = decoded(hex_a, line);
  b = decoded(hex_b, line);
  check(clockpage_definitely_before(&a, &b, &got) == error && got == before, name,
        "clockpage_definitely_before");
  check(clockpage_definitely_before(&b, &a, &turned) == error && turned == after, name,
        "clockpage_definitely_before, turned");
  check(clockpage_definitely_after(&a, &b, &got) == error && got == after, name,
        "clockpage_definitely_after");
  check(clockpage_overlaps(&a, &b, &got) == error && got == (!before && !after), name,
        "clockpage_overlaps");
  check(clockpage_overlaps(&b, &a, &got) == error && got == (!before && !after), name,
        "clockpage_overlaps, turned");
  check(clockpage_timestamps_of_one_clock(&a, &b) == one &&
            clockpage_timestamps_of_one_clock(&b, &a) == one,
        name, "clockpage_timestamps_of_one_clock");
}

static void check_file(const char* directory, const char* name, void (*one)(const char*)) {
  char path[4096], line[1024];
  FILE* file;
  snprintf(path, sizeof path, "%s/%s", directory, name);
  file = fopen(path, "r");
  if (!file) {
    perror(path);
    exit(1);
  }
  while (fgets(line, sizeof line, file))
    if (line[0] != '#') one(line);
  fclose(file);
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: timestamps_test DIR\n");
    return 2;
  }
  check_file(argv[1], "decode.cases", check_decode);
  check_file(argv[1], "compare.cases", check_compare);
  printf("%u comparisons, %u wrong\n", cases, wrong);
  return wrong || !cases;
}
