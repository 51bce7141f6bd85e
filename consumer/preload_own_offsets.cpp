// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstring>
#include <exception>
#include <string>

#include "preload/preload.h"
#include "timens_offsets.hpp"

namespace {

void say(const std::string& text, char* why, std::size_t size) {
  const std::size_t length = std::min(text.size(), size - 1);
  std::memcpy(why, text.data(), length);
  why[length] = '\0';
}

}  // namespace

int preload_own_offsets(std::int64_t* monotonic_ns, std::int64_t* boottime_ns, char* why,
                        std::size_t size) {
  try {
    const auto own = clockpage::own_timens_offsets();
    if (const auto* offsets = std::get_if<clockpage::TimensOffsets>(&own)) {
      *monotonic_ns = offsets->monotonic_ns;
      *boottime_ns = offsets->boottime_ns;
      return 0;
    }
    say(std::get<clockpage::TimensRefusal>(own).text, why, size);
  } catch (const std::exception& error) {
    say(std::string("/proc/self/timens_offsets: ") + error.what(), why, size);
  }
  return -1;
}
