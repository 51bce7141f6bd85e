/* SPDX-License-Identifier: MIT */
/*
 * Pages and views whose writer means harm (spec section 8): valid headers, everything else random,
 * extreme or changing. Every entry point must return a known code, keep its promises about what it
 * writes, and stay within them: they lie between two pages that must not be touched.
 *
 * Usage: hostile_pages_test [ROUNDS [SEED]]. Exit 1 on a broken promise, a signal on a stray
 * access.
 */
#define _GNU_SOURCE
#include <clockpage/view.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNTOUCHED INT64_C(0x5a5a5a5a5a5a5a5a)
#define MANY 40

static uint64_t state;
static unsigned long readings, values, ambiguous, errors[24], view_values, nested;

static uint64_t next_random(void) {
  /* splitmix64 */
  uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* Random, but often at an edge of the range. */
static uint64_t nasty(void) {
  static const uint64_t edges[] = {0,
                                   1,
                                   UINT64_MAX,
                                   UINT64_MAX - 1,
                                   (uint64_t)INT64_MAX,
                                   (uint64_t)INT64_MIN,
                                   (uint64_t)INT64_MAX - 1,
                                   UINT64_C(1) << 62,
                                   UINT64_C(1) << 32};
  uint64_t choice = next_random() % 16;
  return choice < 9 ? edges[choice] : next_random() >> (next_random() % 64);
}

/* `length` bytes, whole pages, with an inaccessible one on either side. */
static void* guarded(size_t length) {
  size_t size = (size_t)sysconf(_SC_PAGESIZE);
  char* area;
  if (size != CLOCKPAGE_PAGE_SIZE) exit(77);
  area = mmap(NULL, length + 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED || mprotect(area + size, length, PROT_READ | PROT_WRITE)) {
    perror("mmap");
    exit(1);
  }
  return area + size;
}

static void fill(struct clockpage_data_page* page) {
  uint64_t* word = (uint64_t*)(void*)page;
  uint64_t likely = next_random() % 4;
  for (size_t i = 0; i < sizeof *page / sizeof *word; i++) word[i] = nasty();
  memcpy(page->magic, CLOCKPAGE_DATA_MAGIC, CLOCKPAGE_MAGIC_SIZE);
  page->abi_major = CLOCKPAGE_ABI_MAJOR;
  page->size = sizeof *page;
#if defined(__x86_64__)
  page->counter_kind = CLOCKPAGE_COUNTER_X86_TSC;
#else
  page->counter_kind = CLOCKPAGE_COUNTER_ARM_CNTVCT;
#endif
  page->delta_shift %= CLOCKPAGE_MAX_DELTA_SHIFT + 1;
  page->segment_count = CLOCKPAGE_SEGMENT_COUNT;
  page->segment_size = CLOCKPAGE_SEGMENT_SIZE;
  page->segment_offset = CLOCKPAGE_SEGMENT_OFFSET;
  page->counter_frequency_hz |= 1;
  page->scale_ratio |= 1;
  page->scale_frac_bits %= 64;
  if (likely) page->revoked = 0;
  if (likely > 1) /* numbers that let a reader walk on */
    for (uint64_t back = 0; back < CLOCKPAGE_SEGMENT_COUNT; back++) {
      struct clockpage_segment* s = &page->segment[(page->index - back) % CLOCKPAGE_SEGMENT_COUNT];
      s->number = page->index - back;
      if (likely > 2) {
        s->flags &= ~(uint32_t)CLOCKPAGE_SEGMENT_DISCONTINUITY;
        s->leap_end_ns = s->leap_start_ns; /* as a leap that is not smeared */
      }
    }
}

static void broken(const char* promise, int clock, uint64_t counter, int error) {
  printf("%s: clock %d at %" PRIu64 ", error %d\n", promise, clock, counter, error);
  exit(1);
}

static void note(int clock, uint64_t counter, int error) {
  readings++;
  if (error > 0 || error < CLOCKPAGE_E_CLOCK) broken("unknown code", clock, counter, error);
  errors[-error]++;
  values += !error;
}

/* The end of spec section 5.2 as far as it can be said without the time: the page does not change.
 */
static void check_leap(const struct clockpage_data_page* page, int clock, uint64_t counter,
                       const struct clockpage_time* time) {
  unsigned with_leap = 0, without = 0, own_word = 0;
  for (size_t i = 0; i < CLOCKPAGE_SEGMENT_COUNT; i++) {
    if (page->segment[i].leap_start_ns != CLOCKPAGE_NO_LEAP)
      with_leap++;
    else
      without++;
    own_word += page->segment[i].leap_indicator == time->leap_indicator;
  }
  ambiguous += (time->flags & CLOCKPAGE_TIME_AMBIGUOUS) != 0;
  if (time->flags & ~(uint32_t)(CLOCKPAGE_TIME_OVERDUE | CLOCKPAGE_TIME_TAI_KNOWN |
                                CLOCKPAGE_TIME_AMBIGUOUS | CLOCKPAGE_TIME_HOST_IN_SMEAR))
    broken("unknown flag", clock, counter, 0);
  if ((time->flags & CLOCKPAGE_TIME_AMBIGUOUS) && (clock != CLOCKPAGE_REALTIME || !with_leap))
    broken("ambiguous without a leap, or not REALTIME", clock, counter, 0);
  /* Of a leap that is far ahead the segment's own word is passed on, whatever it is. */
  if (!without && !own_word &&
      (time->leap_indicator < CLOCKPAGE_LEAP_PENDING_INSERTION ||
       time->leap_indicator > CLOCKPAGE_LEAP_JUST_PAST))
    broken("unknown leap indicator", clock, counter, 0);
}

static void read_page(const struct clockpage_reader* reader, int clock, uint64_t counter) {
  struct clockpage_time time;
  int64_t ns = UNTOUCHED;
  int error = clockpage_at(reader, clock, counter, &ns);
  note(clock, counter, error);
  if (error && ns != UNTOUCHED) broken("ns written with an error", clock, counter, error);
  error = clockpage_at_bounds(reader, clock, counter, &time);
  note(clock, counter, error);
  if (!error && (time.earliest_ns > time.ns || time.ns > time.latest_ns || time.ns != ns))
    broken("not earliest <= ns <= latest, or another ns", clock, counter, error);
  if (!error && time.status > CLOCKPAGE_STATUS_UNRELIABLE)
    broken("unknown status", clock, counter, error);
  if (!error) check_leap(reader->page, clock, counter, &time);
  note(clock, 0, clockpage_now(reader, clock, &ns));
  note(clock, 0, clockpage_now_relaxed(reader, clock, &ns));
  note(clock, 0, clockpage_now_bounds(reader, clock, &time));
}

/* On a page whose segments overlap, bulk conversion may give another time than a single one. */
static void read_many(const struct clockpage_reader* reader, int clock, uint64_t from) {
  uint64_t counters[MANY];
  int64_t ns[MANY];
  size_t converted;
  int error;
  for (size_t i = 0; i < MANY; i++) counters[i] = from + (i % 3 ? i : nasty());
  error = clockpage_at_many(reader, clock, counters, MANY, ns, &converted);
  note(clock, from, error);
  if (converted > MANY || (!error && converted != MANY)) broken("converted", clock, from, error);
}

/* ---- views */

/* A region of four such pages, the pages behind each other or, half of the time, all the same one.
 */
static void fill_region(uint8_t* region) {
  struct clockpage_directory_page* d = (struct clockpage_directory_page*)(void*)region;
  uint64_t* word = (uint64_t*)(void*)d;
  uint64_t apart = next_random() % 2;
  for (size_t i = 0; i < sizeof *d / sizeof *word; i++) word[i] = nasty();
  memcpy(d->magic, CLOCKPAGE_DIRECTORY_MAGIC, CLOCKPAGE_MAGIC_SIZE);
  d->abi_major = CLOCKPAGE_ABI_MAJOR;
  d->region_size = CLOCKPAGE_REGION_SIZE;
  d->data_page_count = CLOCKPAGE_DATA_PAGE_COUNT;
  d->data_page_size = CLOCKPAGE_PAGE_SIZE;
  for (uint32_t i = 0; i < CLOCKPAGE_DATA_PAGE_COUNT; i++) {
    uint32_t offset = (apart ? i + 1 : 7) * CLOCKPAGE_PAGE_SIZE;
    struct clockpage_data_page* page = (struct clockpage_data_page*)(void*)(region + offset);
    d->data_page[i].offset_bytes = next_random() % 16 ? offset : (uint32_t)nasty();
    d->data_page[i].format = (uint8_t)(next_random() % 16 ? i / 2 : nasty());
    d->data_page[i].smear = (uint8_t)(next_random() % 16 ? i % 2 : nasty());
    fill(page);
    page->format = (uint8_t)(i / 2);
    page->generation = d->generation;
    if (i < 2) {
      page->scale_ratio = 1;
      page->scale_frac_bits = 0;
    }
  }
}

static void fill_view(struct clockpage_view_page* view, uint64_t generation) {
  static const uint8_t bits[] = {0, 32, 48, 48, 33, 255, 63, 64};
  uint64_t* word = (uint64_t*)(void*)view;
  for (size_t i = 0; i < sizeof *view / sizeof *word; i++) word[i] = nasty();
  memcpy(view->magic, CLOCKPAGE_VIEW_MAGIC, CLOCKPAGE_MAGIC_SIZE);
  view->abi_major = CLOCKPAGE_ABI_MAJOR;
  view->size = sizeof *view;
  view->slot_count = CLOCKPAGE_VIEW_SLOT_COUNT;
  view->slot_size = sizeof(struct clockpage_view_slot);
  view->generation = generation;
  for (size_t i = 0; i < CLOCKPAGE_VIEW_SLOT_COUNT; i++) {
    struct clockpage_view_slot* slot = &view->slot[i];
    slot->number = view->index;
    if (next_random() % 4) slot->parent_generation = 0;
    slot->format = next_random() % 8 ? next_random() % 16 == 0 : (uint8_t)nasty();
    slot->counter_frac_bits = bits[next_random() % 8];
    if (slot->counter_frac_bits == 0) slot->counter_ratio = 1;
  }
}

static void note_view(int clock, uint64_t counter, int error) {
  readings++;
  if (error > 0 || error < CLOCKPAGE_E_VIEW || error == -10)
    broken("unknown code", clock, counter, error);
  errors[-error]++;
  view_values += !error;
}

static void read_view(const struct clockpage_view_reader* reader, int clock, uint64_t counter) {
  struct clockpage_view_time time;
  struct timespec ts;
  int64_t ns = UNTOUCHED;
  uint64_t marker = 0;
  int error = clockpage_view_marker(reader, &marker), marked = !error;
  note_view(clock, counter, error);
  error = clockpage_view_at(reader, clock, counter, marker, &ns);
  note_view(clock, counter, error);
  if (error && ns != UNTOUCHED) broken("ns written with an error", clock, counter, error);
  error = clockpage_view_at_bounds(reader, clock, counter, marker, &time);
  note_view(clock, counter, error);
  if (!error && (time.time.earliest_ns > time.time.ns || time.time.ns > time.time.latest_ns ||
                 time.time.ns != ns || time.guest_counter != counter))
    broken("not earliest <= ns <= latest, or another ns", clock, counter, error);
  if (marked && clockpage_view_at(reader, clock, counter, marker + 1, &ns) == 0)
    broken("a value under another marker", clock, counter, 0);
  note_view(clock, 0, clockpage_view_now(reader, clock, &ns));
  note_view(clock, 0, clockpage_view_now_relaxed(reader, clock, &ns));
  note_view(clock, 0, clockpage_view_now_bounds(reader, clock, &time));
  note_view(clock, 0, clockpage_view_gettime(reader, clock, &ts));
}

/* Ancestors: each slot that is looked at names, more often than not, the next one's number. */
static void fill_ancestors(struct clockpage_view_page* view,
                           struct clockpage_view_page* const* ancestors, size_t count) {
  struct clockpage_view_page* below = view;
  for (size_t i = 0; i < count; i++) {
    fill_view(ancestors[i], next_random() % 16 ? view->generation : nasty());
    if (next_random() % 8)
      below->slot[below->index % CLOCKPAGE_VIEW_SLOT_COUNT].parent_generation = ancestors[i]->index;
    below = ancestors[i];
  }
}

/* Returns how many of the views could be read through. */
static unsigned long hostile_views(unsigned long rounds) {
  static const int clocks[] = {0, 1, 4, 7, 11, 2, -1};
  uint8_t* region = guarded(CLOCKPAGE_REGION_SIZE);
  struct clockpage_view_page* view = guarded(sizeof *view);
  struct clockpage_view_page* ancestors[CLOCKPAGE_VIEW_MAX_ANCESTORS];
  const void* given[CLOCKPAGE_VIEW_MAX_ANCESTORS];
  unsigned long opened = 0;
  for (size_t i = 0; i < CLOCKPAGE_VIEW_MAX_ANCESTORS; i++)
    given[i] = ancestors[i] = guarded(sizeof *view);
  for (unsigned long round = 0; round < rounds; round++) {
    struct clockpage_view_reader reader;
    size_t count = next_random() % (CLOCKPAGE_VIEW_MAX_ANCESTORS + 1);
    int error;
    fill_region(region);
    fill_view(view, ((struct clockpage_directory_page*)(void*)region)->generation);
    fill_ancestors(view, ancestors, count);
    error = clockpage_view_reader_init_nested(&reader, view, sizeof *view, region,
                                              CLOCKPAGE_REGION_SIZE, given, count);
    note_view(0, 0, error);
    if (error) continue;
    opened++;
    nested += reader.depth != 0;
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
      const struct clockpage_data_page* page = reader.data.page;
      uint64_t host = page->segment[next_random() % CLOCKPAGE_SEGMENT_COUNT].start + nasty() % 1000;
      read_view(&reader, clocks[i], nasty());
      read_view(
          &reader, clocks[i],
          clockpage_scale_counter(host, reader.ratio, reader.frac_bits) + reader.counter_offset);
      /* Whatever is there then, valid or not, is read with the reader of before. */
      if (i == 1 && count) ancestors[count - 1]->index += next_random() % 2;
      if (i == 2) fill_ancestors(view, ancestors, count);
      if (i == 3) fill_view(view, next_random() % 2 ? view->generation : nasty());
      if (i == 5) fill_region(region);
    }
  }
  return opened;
}

int main(int argc, char** argv) {
  static const int clocks[] = {0, 1, 4, 7, 11, 2, -1};
  unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 20000;
  struct clockpage_data_page* page = guarded(sizeof *page);
  unsigned long opened;
  state = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
  printf("%lu rounds, seed %" PRIu64 "\n", rounds, state);
  for (unsigned long round = 0; round < rounds; round++) {
    struct clockpage_reader reader;
    int error;
    fill(page);
    error = clockpage_reader_init(&reader, page, sizeof *page);
    if (error) broken("header refused", 0, 0, error);
    page->delta_shift = (uint8_t)nasty(); /* after the check: the copy must be used */
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
      uint64_t start = page->segment[next_random() % CLOCKPAGE_SEGMENT_COUNT].start;
      read_page(&reader, clocks[i], nasty());
      read_page(&reader, clocks[i], start + nasty() % 1000 - 500);
      read_many(&reader, clocks[i], start);
    }
  }
  opened = hostile_views(rounds);
  printf("%lu views read through (%lu with ancestors), %lu values; ", opened, nested, view_values);
  printf("%lu readings, %lu values, %lu ambiguous; by code:", readings, values, ambiguous);
  for (size_t i = 0; i < 24; i++) printf(" %lu", errors[i]);
  printf("\n");
  return values == 0 || values == readings || ambiguous == 0 || opened == 0 || nested == 0 ||
         view_values == 0;
}
