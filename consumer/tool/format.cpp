// SPDX-License-Identifier: MIT
#include "format.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>

namespace clockpage::tool {

std::string_view clock_name(int clock) {
  switch (clock) {
    case CLOCKPAGE_REALTIME:
      return "realtime";
    case CLOCKPAGE_TAI:
      return "tai";
    case CLOCKPAGE_MONOTONIC:
      return "monotonic";
    case CLOCKPAGE_MONOTONIC_RAW:
      return "raw";
    case CLOCKPAGE_BOOTTIME:
      return "boottime";
    default:
      return "?";
  }
}

std::optional<int> clock_by_name(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower.starts_with("clock_")) lower.erase(0, 6);
  if (lower == "monotonic_raw") lower = "raw";
  for (int clock : kClocks)
    if (lower == clock_name(clock)) return clock;
  return std::nullopt;
}

std::string status_name(unsigned status) {
  static constexpr std::array<std::string_view, 5> kNames = {
      "unknown", "initialising", "synchronised", "free-running", "unreliable"};
  return status < kNames.size() ? std::string(kNames[status]) : fmt::format("status {}", status);
}

std::string reason_name(unsigned reason) {
  static constexpr std::array<std::string_view, 7> kNames = {
      "none",        "kernel_unsynchronised", "kernel_clock_error", "source_lost",
      "catching_up", "producer_stopped",      "simulated"};
  return reason < kNames.size() ? std::string(kNames[reason]) : fmt::format("reason_{}", reason);
}

std::string reason_words(unsigned reason) {
  switch (reason) {
    case CLOCKPAGE_REASON_NONE:
      return "no particular reason";
    case CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED:
      return "the kernel says that its clock is not synchronised (adjtimex: STA_UNSYNC)";
    case CLOCKPAGE_REASON_KERNEL_CLOCK_ERROR:
      return "the kernel says that its clock is in error (adjtimex: TIME_ERROR)";
    case CLOCKPAGE_REASON_SOURCE_LOST:
      return "the producer cannot read its source";
    case CLOCKPAGE_REASON_CATCHING_UP:
      return "the page is catching up with its source";
    case CLOCKPAGE_REASON_PRODUCER_STOPPED:
      return "the producer ended cleanly";
    case CLOCKPAGE_REASON_SIMULATED:
      return "the source is simulated: this is nobody's real time";
    default:
      return fmt::format("reason {}, which this version does not know", reason);
  }
}

std::string revoked_words(uint64_t revoked) {
  switch (revoked) {
    case CLOCKPAGE_REVOKED_NO:
      return "not revoked";
    case CLOCKPAGE_REVOKED_COUNTER:
      return "revoked: the counter jumped or is no longer invariant";
    case CLOCKPAGE_REVOKED_REPLACED:
      return "revoked: another file has this region's name, or none has (open it again)";
    default:
      return fmt::format("revoked: reason {}, which this version does not know", revoked);
  }
}

std::string smear_text(const Smear& smear) {
  if (smear.kind > CLOCKPAGE_SMEAR_LINEAR) return fmt::format("smear {}", smear.kind);
  return smear_name(smear);
}

std::string leap_name(unsigned indicator) {
  static constexpr std::array<std::string_view, 5> kNames = {
      "none", "pending_insertion", "pending_deletion", "in_smear", "just_past"};
  return indicator < kNames.size() ? std::string(kNames[indicator])
                                   : fmt::format("leap_{}", indicator);
}

std::string leap_short(unsigned indicator) {
  static constexpr std::array<std::string_view, 5> kNames = {"-", "insertion", "deletion",
                                                             "in smear", "just past"};
  return indicator < kNames.size() ? std::string(kNames[indicator]) : fmt::format("{}", indicator);
}

std::string leap_words(unsigned indicator) {
  switch (indicator) {
    case CLOCKPAGE_LEAP_NONE:
      return "no leap second in sight";
    case CLOCKPAGE_LEAP_PENDING_INSERTION:
      return "a leap second will be inserted";
    case CLOCKPAGE_LEAP_PENDING_DELETION:
      return "a leap second will be deleted";
    case CLOCKPAGE_LEAP_IN_SMEAR:
      return "in the smear of a leap second";
    case CLOCKPAGE_LEAP_JUST_PAST:
      return "a leap second is just past";
    default:
      return fmt::format("leap indicator {}, which this version does not know", indicator);
  }
}

std::string clock_text(int clock, int64_t ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  if (clock != CLOCKPAGE_REALTIME && clock != CLOCKPAGE_TAI) {
    const uint64_t size = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
    return fmt::format("{}{}.{:09} s", ns < 0 ? "-" : "", size / kSecond, size % kSecond);
  }
  using std::chrono::days;
  const std::chrono::sys_time<std::chrono::nanoseconds> time{std::chrono::nanoseconds(ns)};
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss rest{time - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}{}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     rest.hours().count(), rest.minutes().count(), rest.seconds().count(),
                     rest.subseconds().count(), clock == CLOCKPAGE_TAI ? " TAI" : "Z");
}

std::string duration_text(int64_t ns) {
  const double size = std::abs(static_cast<double>(ns));
  const auto value = static_cast<double>(ns);
  if (size < 1e3) return fmt::format("{} ns", ns);
  if (size < 1e6) return fmt::format("{:.3f} us", value / 1e3);
  if (size < 1e9) return fmt::format("{:.3f} ms", value / 1e6);
  return fmt::format("{:.3f} s", value / 1e9);
}

std::optional<uint64_t> bound_of(const clockpage_time& time) {
  if (time.earliest_ns == INT64_MIN || time.latest_ns == INT64_MAX) return std::nullopt;
  return static_cast<uint64_t>(std::max(time.ns - time.earliest_ns, time.latest_ns - time.ns));
}

std::string bound_text(std::optional<uint64_t> bound_ns) {
  if (!bound_ns) return "unknown";
  return duration_text(static_cast<int64_t>(std::min<uint64_t>(*bound_ns, INT64_MAX)));
}

std::string uuid_text(std::span<const uint8_t, 16> bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", bytes[i]);
  }
  return text;
}

}  // namespace clockpage::tool
