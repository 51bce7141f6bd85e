// SPDX-License-Identifier: MIT
// What spec section 5.2 makes of a counter value where index is n and nothing changes: by its
// letter, from the segments as they were published, with no code of the reader's.
#pragma once

#include <clockpage/reader.h>

#include <cstdint>
#include <map>
#include <string>

namespace clockpage::weak_memory {

using Published = std::map<std::uint64_t, clockpage_segment>;

struct Expectation {
  int error = CLOCKPAGE_OK;
  clockpage_time time{};
};

Expectation expectation(const clockpage_data_page& page, const Published& published,
                        std::uint64_t index, std::uint64_t counter, int clock);

// The same on one segment, wherever the counter value lies.
clockpage_time evaluated(const clockpage_data_page& page, const clockpage_segment& segment,
                         std::uint64_t counter, int clock, bool overdue);

bool same_time(const clockpage_time& a, const clockpage_time& b);
std::string text_of(const clockpage_time& time);

}  // namespace clockpage::weak_memory
