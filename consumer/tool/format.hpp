// SPDX-License-Identifier: MIT
#pragma once

#include <clockpage/reader.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "smear.hpp"

namespace clockpage::tool {

inline constexpr std::array<int, 5> kClocks = {CLOCKPAGE_REALTIME, CLOCKPAGE_TAI,
                                               CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW,
                                               CLOCKPAGE_BOOTTIME};

/// "realtime", "tai", "monotonic", "raw", "boottime"; as --clock takes them.
std::string_view clock_name(int clock);
/// In any case, with or without "CLOCK_"; "monotonic_raw" is "raw".
std::optional<int> clock_by_name(std::string_view name);

/// "synchronised" and so on; for numbers without a name "status 7".
std::string status_name(unsigned status);
/// One word for programs: "kernel_unsynchronised".
std::string reason_name(unsigned reason);
/// A clause for people: "the kernel says that its clock is not synchronised (STA_UNSYNC)".
std::string reason_words(unsigned reason);
std::string revoked_words(uint64_t revoked);

/// "none", "noon", "utc-sls", "linear:-600:1200"; for numbers without a name "smear 7".
std::string smear_text(const Smear& smear);
/// One word for programs: "pending_insertion".
std::string leap_name(unsigned indicator);
/// As short as can be, for tables: "insertion", "deletion", "in smear", "just past", "-".
std::string leap_short(unsigned indicator);
/// A clause for people: "a leap second will be inserted".
std::string leap_words(unsigned indicator);

/// ISO 8601 for REALTIME ("...Z") and TAI ("... TAI"), seconds ("123.000000456 s") for the others.
std::string clock_text(int clock, int64_t ns);
/// A duration for people: "12 ns", "3.214 ms", "-1.500 s".
std::string duration_text(int64_t ns);
/// Half-width of a reading: the larger of its two sides; nullopt where there is no bound.
std::optional<uint64_t> bound_of(const clockpage_time& time);
std::string bound_text(std::optional<uint64_t> bound_ns);
/// Lower-case hexadecimal in the grouping of a UUID.
std::string uuid_text(std::span<const uint8_t, 16> bytes);

}  // namespace clockpage::tool
