/* SPDX-License-Identifier: MIT */
/*
 * The C reader (clockpage/reader.h) over the golden vectors: every entry point that takes a
 * counter value gives the same bits as spec/vectors says.
 *
 * Usage: vectors_c_test DIR. Prints each difference; exit 1 if there is one.
 */
#include <clockpage/reader.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CASES 1024
/* Twice a page: headers.cases has longer mappings. */
#define IMAGE_SIZE (2 * CLOCKPAGE_PAGE_SIZE)

struct vector {
  uint64_t counter;
  int clock;
  int error;
  struct clockpage_time time; /* valid if error is 0 */
};

static const char* directory;
static unsigned cases, wrong;
static _Alignas(64) unsigned char image[IMAGE_SIZE];

static FILE* open_file(const char* name, const char* suffix) {
  char path[4096];
  FILE* file;
  snprintf(path, sizeof path, "%s/%s%s", directory, name, suffix);
  file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(1);
  }
  return file;
}

/* The pages are made for the TSC. But for one byte nothing knows of it, so elsewhere the two
 * known kinds change places, and all else is as on x86. */
static void adopt_counter_kind(void) {
#if !defined(__x86_64__)
  struct clockpage_data_page* page = (struct clockpage_data_page*)image;
  if (page->counter_kind == CLOCKPAGE_COUNTER_X86_TSC)
    page->counter_kind = CLOCKPAGE_COUNTER_ARM_CNTVCT;
  else if (page->counter_kind == CLOCKPAGE_COUNTER_ARM_CNTVCT)
    page->counter_kind = CLOCKPAGE_COUNTER_X86_TSC;
#endif
}

static void load_page(const char* name) {
  FILE* file = open_file(name, ".page");
  memset(image, 0, sizeof image);
  if (fread(image, 1, CLOCKPAGE_PAGE_SIZE, file) != CLOCKPAGE_PAGE_SIZE) {
    fprintf(stderr, "%s.page: too short\n", name);
    exit(1);
  }
  fclose(file);
}

/* 1 and *v filled, or 0 for a comment. */
static int parse(const char* line, struct vector* v) {
  struct clockpage_time* t = &v->time;
  int fields;
  if (line[0] == '#') return 0;
  memset(v, 0, sizeof *v);
  fields = sscanf(line,
                  "%d %" SCNu64 " %d %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNu8 " %" SCNu8
                  " %" SCNu32 " %" SCNu8 " %" SCNu8 " %" SCNu64,
                  &v->clock, &v->counter, &v->error, &t->ns, &t->earliest_ns, &t->latest_ns,
                  &t->status, &t->reason, &t->flags, &t->leap_indicator, &t->smear, &t->epoch);
  if (fields != (v->error ? 3 : 12)) {
    fprintf(stderr, "not a case: %s", line);
    exit(1);
  }
  t->counter = v->counter;
  return 1;
}

static int same_time(const struct clockpage_time* a, const struct clockpage_time* b) {
  return a->ns == b->ns && a->earliest_ns == b->earliest_ns && a->latest_ns == b->latest_ns &&
         a->counter == b->counter && a->epoch == b->epoch && a->flags == b->flags &&
         a->status == b->status && a->reason == b->reason &&
         a->leap_indicator == b->leap_indicator && a->smear == b->smear;
}

static void check(int good, const char* name, const char* function, const struct vector* v,
                  int error, const struct clockpage_time* got) {
  cases++;
  if (good) return;
  wrong++;
  printf("%s: %s, clock %d at %" PRIu64 ": error %d (expected %d)", name, function, v->clock,
         v->counter, error, v->error);
  if (!error && !v->error)
    printf(", [%" PRId64 ", %" PRId64 ", %" PRId64 "] (expected [%" PRId64 ", %" PRId64 ", %" PRId64
           "]), status %d (%d), flags %u (%u)",
           got->earliest_ns, got->ns, got->latest_ns, v->time.earliest_ns, v->time.ns,
           v->time.latest_ns, got->status, v->time.status, got->flags, v->time.flags);
  printf("\n");
}

static void check_one(const char* name, const struct clockpage_reader* reader,
                      const struct vector* v) {
  const int64_t untouched = INT64_C(0x5a5a5a5a5a5a5a5a);
  struct clockpage_time got;
  int64_t ns = untouched;
  int error;
  memset(&got, 0, sizeof got);
  error = clockpage_at_bounds(reader, v->clock, v->counter, &got);
  check(error == v->error && (error || same_time(&got, &v->time)), name, "clockpage_at_bounds", v,
        error, &got);
  error = clockpage_at(reader, v->clock, v->counter, &ns);
  got.ns = ns;
  check(error == v->error && ns == (error ? untouched : v->time.ns), name, "clockpage_at", v, error,
        &got);
}

/* All readable cases of one clock in one call; then the first unreadable one ends a call. */
static void check_many(const char* name, const struct clockpage_reader* reader,
                       const struct vector* vectors, size_t count, int clock) {
  static uint64_t counters[MAX_CASES];
  static int64_t ns[MAX_CASES];
  static const struct vector* from[MAX_CASES];
  const struct vector* unreadable = NULL;
  struct clockpage_time got;
  size_t used = 0, converted = 0;
  int error;
  memset(&got, 0, sizeof got);
  for (size_t i = 0; i < count; i++) {
    if (vectors[i].clock != clock) continue;
    if (vectors[i].error) {
      unreadable = &vectors[i];
      continue;
    }
    counters[used] = vectors[i].counter;
    from[used++] = &vectors[i];
  }
  error = clockpage_at_many(reader, clock, counters, used, ns, &converted);
  for (size_t i = 0; i < used; i++) {
    got.ns = ns[i];
    check(!error && converted == used && ns[i] == from[i]->time.ns, name, "clockpage_at_many",
          from[i], error, &got);
  }
  if (unreadable) {
    counters[used] = unreadable->counter;
    error = clockpage_at_many(reader, clock, counters, used + 1, ns, &converted);
    check(error == unreadable->error && converted == used, name, "clockpage_at_many (last)",
          unreadable, error, &got);
  }
}

/* A page in memory that is made for another CPU's counter. */
static void check_is_refused(const char* name) {
#if !defined(__x86_64__)
  struct clockpage_reader reader;
  int error = clockpage_reader_init(&reader, image, CLOCKPAGE_PAGE_SIZE);
  cases++;
  if (error != CLOCKPAGE_E_COUNTER) {
    printf("%s: made for the TSC, yet %d, expected %d\n", name, error, CLOCKPAGE_E_COUNTER);
    wrong++;
  }
#else
  (void)name;
#endif
}

static void check_page(const char* name) {
  static const int clocks[] = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW,
                               CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI};
  static struct vector vectors[MAX_CASES];
  struct clockpage_reader reader;
  FILE* file = open_file(name, ".cases");
  char line[1024];
  size_t count = 0;
  int error;
  load_page(name);
  check_is_refused(name);
  adopt_counter_kind();
  error = clockpage_reader_init(&reader, image, CLOCKPAGE_PAGE_SIZE);
  if (error) {
    printf("%s: refused with %d\n", name, error);
    wrong++;
    fclose(file);
    return;
  }
  while (fgets(line, sizeof line, file)) {
    if (count == MAX_CASES) {
      printf("%s: more than %d cases\n", name, MAX_CASES);
      wrong++;
      break;
    }
    count += (size_t)parse(line, &vectors[count]);
  }
  fclose(file);
  for (size_t i = 0; i < count; i++) check_one(name, &reader, &vectors[i]);
  for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++)
    check_many(name, &reader, vectors, count, clocks[i]);
}

/* "offset:hex,offset:hex" or "-". */
static void apply_patch(char* patch) {
  for (char* part = strtok(patch, ","); part && *part != '-'; part = strtok(NULL, ",")) {
    char* hex;
    size_t offset = strtoul(part, &hex, 10);
    for (hex++; hex[0] && hex[1] && offset < IMAGE_SIZE; hex += 2) {
      const char byte[] = {hex[0], hex[1], 0};
      image[offset++] = (unsigned char)strtoul(byte, NULL, 16);
    }
  }
}

static void check_headers(void) {
  FILE* file = open_file("headers", ".cases");
  char line[4096], name[64], patch[2048];
  while (fgets(line, sizeof line, file)) {
    struct clockpage_reader reader;
    size_t length;
    int expected, error;
    if (line[0] == '#') continue;
    if (sscanf(line, "%63s %zu %2047s %d", name, &length, patch, &expected) != 4 ||
        length > IMAGE_SIZE) {
      fprintf(stderr, "not a case: %s", line);
      exit(1);
    }
    load_page("unscaled");
    apply_patch(patch);
    adopt_counter_kind();
    error = clockpage_reader_init(&reader, image, length);
    cases++;
    if (error != expected) {
      printf("header %s: %d, expected %d\n", name, error, expected);
      wrong++;
    }
  }
  fclose(file);
}

int main(int argc, char** argv) {
  char name[64];
  FILE* list;
  if (argc != 2) {
    fprintf(stderr, "usage: vectors_c_test DIR\n");
    return 2;
  }
  directory = argv[1];
  list = open_file("pages", ".list");
  while (fscanf(list, "%63s", name) == 1) check_page(name);
  fclose(list);
  check_headers();
  printf("%u comparisons, %u wrong\n", cases, wrong);
  return wrong || !cases;
}
