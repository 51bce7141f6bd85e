/* SPDX-License-Identifier: MIT */
/*
 * Reads a page with the installed headers alone: nothing of libclockpage is linked, as in
 * a guest that has only the headers.
 *
 *     header_only REGION_FILE
 *
 * Prints REALTIME in ns. Exit code: 0; 1 with one line on stderr.
 */
#define _POSIX_C_SOURCE 200809L
#include <clockpage/reader.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char* path, const char* reason) {
  fprintf(stderr, "header_only: %s: %s\n", path, reason);
  return 1;
}

int main(int argc, char** argv) {
  const char* path = argc == 2 ? argv[1] : "/nonexistent/region";
  const struct clockpage_directory_page* directory;
  struct clockpage_reader reader;
  struct stat status;
  uint32_t offset;
  int64_t ns;
  int error, file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return fail(path, strerror(errno));
  if (fstat(file, &status) || status.st_size != CLOCKPAGE_REGION_SIZE)
    return fail(path, "not the size of a region");
  directory = mmap(NULL, CLOCKPAGE_REGION_SIZE, PROT_READ, MAP_SHARED, file, 0);
  if (directory == MAP_FAILED) return fail(path, strerror(errno));
  if (memcmp(directory->magic, CLOCKPAGE_DIRECTORY_MAGIC, CLOCKPAGE_MAGIC_SIZE) != 0)
    return fail(path, "not a region");
  offset = directory->data_page[0].offset_bytes; /* unscaled, unsmeared */
  if (offset % CLOCKPAGE_PAGE_SIZE || offset > CLOCKPAGE_REGION_SIZE - CLOCKPAGE_PAGE_SIZE)
    return fail(path, "a data page lies outside the region");
  error = clockpage_reader_init(&reader, (const char*)directory + offset, CLOCKPAGE_PAGE_SIZE);
  if (!error) error = clockpage_now(&reader, CLOCKPAGE_REALTIME, &ns);
  if (error) return fail(path, "no time could be read");
  printf("%" PRId64 "\n", ns);
  return 0;
}
