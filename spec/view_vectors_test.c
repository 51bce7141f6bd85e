/* SPDX-License-Identifier: MIT */
/*
 * The reader of views (clockpage/view.h) over the golden views, bit for bit: by what it remembers,
 * and through a view that has become this one since. Also compiled as C++ (view_vectors_test.cpp).
 *
 * Usage: view_vectors_test DIR. Prints each difference; exit 1 if there is one.
 */
#include <clockpage/view.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNTOUCHED INT64_C(0x5a5a5a5a5a5a5a5a)

#ifdef __cplusplus
#define ALIGNED alignas(CLOCKPAGE_PAGE_SIZE)
#else
#define ALIGNED _Alignas(CLOCKPAGE_PAGE_SIZE)
#endif

struct image {
  ALIGNED unsigned char bytes[CLOCKPAGE_REGION_SIZE];
};

struct view_vector {
  uint64_t guest, marker;
  int clock, error;
  struct clockpage_time time; /* valid if error is 0 */
};

static const char* directory;
static unsigned cases, wrong;
static struct image region, view, ancestors[CLOCKPAGE_VIEW_MAX_ANCESTORS];
static char name[64];
static int open_error; /* that the view must give */
static size_t ancestor_count;
/* The same view by two readers: one initialised for it (valid if open_error is 0), and one for a
 * view that was in its place before. */
static struct clockpage_view_reader current, outdated;

static void load(struct image* to, size_t size, const char* file_name, const char* suffix) {
  char path[4096];
  FILE* file;
  snprintf(path, sizeof path, "%s/%s%s", directory, file_name, suffix);
  file = fopen(path, "rb");
  if (!file || fread(to->bytes, 1, size, file) != size) {
    perror(path);
    exit(1);
  }
  fclose(file);
}

/* As in vectors_c_test.c: nothing but the kind of counter knows of the TSC. */
static void adopt_counter_kind(void) {
#if !defined(__x86_64__)
  for (size_t i = 1; i <= CLOCKPAGE_DATA_PAGE_COUNT; i++) {
    struct clockpage_data_page* page =
        (struct clockpage_data_page*)(void*)(region.bytes + i * CLOCKPAGE_PAGE_SIZE);
    page->counter_kind = CLOCKPAGE_COUNTER_ARM_CNTVCT;
  }
#endif
}

static int init(struct clockpage_view_reader* reader) {
  const void* list[CLOCKPAGE_VIEW_MAX_ANCESTORS];
  for (size_t i = 0; i < ancestor_count; i++) list[i] = ancestors[i].bytes;
  return clockpage_view_reader_init_nested(reader, view.bytes, CLOCKPAGE_PAGE_SIZE, region.bytes,
                                           sizeof region.bytes, list, ancestor_count);
}

static void expect(int good, const char* what, const struct view_vector* v, int error, int64_t ns) {
  cases++;
  if (good) return;
  wrong++;
  printf("%s: %s, clock %d at %" PRIu64 ": error %d (expected %d), %" PRId64 " (%" PRId64 ")\n",
         name, what, v->clock, v->guest, error, v->error, ns, v->time.ns);
}

/* The next word of a line; an empty one at its end. */
static char* next_word(char** rest) {
  char* word = *rest + strspn(*rest, " \n");
  *rest = word + strcspn(word, " \n");
  if (**rest) *(*rest)++ = 0;
  return word;
}

/* "view REGION NAME ERROR ANCESTOR..." */
static void begin_view(char* line) {
  struct view_vector none;
  const char *region_name, *word;
  int error;
  memset(&none, 0, sizeof none);
  (void)next_word(&line);
  region_name = next_word(&line);
  snprintf(name, sizeof name, "%s", next_word(&line));
  word = next_word(&line);
  open_error = none.error = atoi(word);
  load(&region, sizeof region.bytes, region_name, ".region");
  adopt_counter_kind();
  for (ancestor_count = 0; *(word = next_word(&line)); ancestor_count++)
    load(&ancestors[ancestor_count], CLOCKPAGE_PAGE_SIZE, word, ".view");
  load(&view, CLOCKPAGE_PAGE_SIZE, "view_features", ".view"); /* another number, other relations */
  error = init(&outdated);
  expect(error == 0, "initialising for another view", &none, error, 0);
  load(&view, CLOCKPAGE_PAGE_SIZE, name, ".view");
  outdated.number--; /* many golden views have one number */
  error = init(&current);
  expect(error == open_error, "initialising", &none, error, 0);
}

static int parse(const char* line, struct view_vector* v) {
  struct clockpage_time* t = &v->time;
  int fields;
  memset(v, 0, sizeof *v);
  fields = sscanf(line,
                  "%d %" SCNu64 " %" SCNu64 " %d %" SCNu64 " %" SCNd64 " %" SCNd64 " %" SCNd64
                  " %" SCNu8 " %" SCNu8 " %" SCNu32 " %" SCNu8 " %" SCNu8 " %" SCNu64,
                  &v->clock, &v->guest, &v->marker, &v->error, &t->counter, &t->ns, &t->earliest_ns,
                  &t->latest_ns, &t->status, &t->reason, &t->flags, &t->leap_indicator, &t->smear,
                  &t->epoch);
  return fields == (v->error ? 4 : 14);
}

static int same(const struct clockpage_view_time* got, const struct view_vector* v) {
  const struct clockpage_time *a = &got->time, *b = &v->time;
  return a->ns == b->ns && a->earliest_ns == b->earliest_ns && a->latest_ns == b->latest_ns &&
         a->counter == b->counter && a->epoch == b->epoch && a->flags == b->flags &&
         a->status == b->status && a->reason == b->reason &&
         a->leap_indicator == b->leap_indicator && a->smear == b->smear &&
         got->guest_counter == v->guest && got->disruption_marker == v->marker;
}

static void check(const struct clockpage_view_reader* reader, const char* at, const char* at_bounds,
                  const struct view_vector* v) {
  struct clockpage_view_time got;
  int64_t ns = UNTOUCHED;
  int error;
  memset(&got, 0, sizeof got);
  error = clockpage_view_at_bounds(reader, v->clock, v->guest, v->marker, &got);
  expect(error == v->error && (error || same(&got, v)), at_bounds, v, error, got.time.ns);
  error = clockpage_view_at(reader, v->clock, v->guest, v->marker, &ns);
  expect(error == v->error && ns == (error ? UNTOUCHED : v->time.ns), at, v, error, ns);
}

/* "Now" gives no time either where the view cannot be read through. */
static void check_now(const struct view_vector* v) {
  int64_t ns = UNTOUCHED;
  int error = clockpage_view_now(&outdated, v->clock, &ns);
  expect(error == open_error && ns == UNTOUCHED, "now", v, error, ns);
}

int main(int argc, char** argv) {
  char path[4096], line[1024];
  unsigned views = 0;
  FILE* file;
  if (argc != 2) {
    fprintf(stderr, "usage: view_vectors_test DIR\n");
    return 2;
  }
  directory = argv[1];
  snprintf(path, sizeof path, "%s/views.cases", directory);
  file = fopen(path, "r");
  if (!file) {
    perror(path);
    return 1;
  }
  while (fgets(line, sizeof line, file)) {
    struct view_vector v;
    if (line[0] == '#') continue;
    if (line[0] == 'v') {
      begin_view(line);
      views++;
      continue;
    }
    if (!views || !parse(line, &v)) {
      fprintf(stderr, "not a case: %s", line);
      return 1;
    }
    if (open_error)
      check_now(&v);
    else
      check(&current, "at", "at, with bounds", &v);
    check(&outdated, "at, anew", "at, anew, with bounds", &v);
  }
  fclose(file);
  printf("%u views, %u comparisons, %u wrong\n", views, cases, wrong);
  return wrong || !cases;
}
