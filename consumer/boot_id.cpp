// SPDX-License-Identifier: MIT
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace {

// The value of a lower-case hexadecimal digit, as the kernel writes them; -1 for another.
int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

int clockpage_boot_id(uint8_t boot_id[16]) {
  if (boot_id == nullptr) return CLOCKPAGE_E_ARGUMENT;
  const int descriptor = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return CLOCKPAGE_E_SYSTEM;
  char text[36];
  const ssize_t length = read(descriptor, text, sizeof(text));
  const int saved_errno = length < 0 ? errno : EILSEQ;
  close(descriptor);
  errno = saved_errno;
  if (length != static_cast<ssize_t>(sizeof(text))) return CLOCKPAGE_E_SYSTEM;
  unsigned digits = 0;
  uint8_t id[16] = {};
  for (char c : text) {
    if (c == '-') continue;
    const int digit = hex_digit(c);
    if (digit < 0 || digits == 2 * sizeof(id)) return CLOCKPAGE_E_SYSTEM;
    id[digits / 2] = static_cast<uint8_t>(id[digits / 2] << 4 | digit);
    digits++;
  }
  if (digits != 2 * sizeof(id)) return CLOCKPAGE_E_SYSTEM;
  for (unsigned i = 0; i < sizeof(id); i++) boot_id[i] = id[i];
  return CLOCKPAGE_OK;
}
