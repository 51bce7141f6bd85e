// SPDX-License-Identifier: MIT
#include "utc_time.hpp"

#include <fmt/format.h>

#include <charconv>
#include <chrono>

namespace clockpage {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kDay = 86'400;
constexpr int kFirstYear = 1970;
constexpr int kLastYear = 2199;

// Takes what it is asked for off the front. Once something was not there, nothing more is.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : left_(text) {}

  // A number of just so many digits.
  int digits(std::size_t count) {
    int value = 0;
    if (left_.size() < count) good_ = false;
    for (std::size_t i = 0; good_ && i < count; i++) {
      if (left_[i] < '0' || left_[i] > '9') good_ = false;
      value = value * 10 + (left_[i] - '0');
    }
    if (!good_) return 0;
    left_.remove_prefix(count);
    return value;
  }
  void literal(std::string_view what) {
    good_ = good_ && left_.starts_with(what);
    if (good_) left_.remove_prefix(what.size());
  }
  bool optional(std::string_view what) {
    if (!good_ || !left_.starts_with(what)) return false;
    left_.remove_prefix(what.size());
    return true;
  }
  // ns of ".5", of nothing 0.
  std::int32_t fraction() {
    if (!optional(".")) return 0;
    std::int32_t ns = 0;
    std::size_t count = 0;
    for (; count < left_.size() && left_[count] >= '0' && left_[count] <= '9'; count++)
      if (count < 9) ns = ns * 10 + (left_[count] - '0');
    if (count == 0 || count > 9) good_ = false;
    if (!good_) return 0;
    left_.remove_prefix(count);
    for (; count < 9; count++) ns *= 10;
    return ns;
  }
  // Everything was there, and nothing else.
  [[nodiscard]] bool done() const { return good_ && left_.empty(); }

 private:
  std::string_view left_;
  bool good_ = true;
};

struct Calendar {
  std::chrono::year_month_day date;
  int hour = 0, minute = 0, second = 0;
  std::int32_t ns = 0;

  // Of the second, 60 taken for 59.
  [[nodiscard]] std::int64_t posix_s() const {
    const auto days = std::chrono::sys_days(date).time_since_epoch().count();
    return days * kDay + hour * 3600 + minute * 60 + std::min(second, 59);
  }
};

std::chrono::year_month_day scan_date(Scanner& scan) {
  const int year = scan.digits(4);
  scan.literal("-");
  const int month = scan.digits(2);
  scan.literal("-");
  const int day = scan.digits(2);
  return {std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
          std::chrono::day(static_cast<unsigned>(day))};
}

Calendar scan_calendar(Scanner& scan) {
  Calendar c;
  c.date = scan_date(scan);
  scan.literal("T");
  c.hour = scan.digits(2);
  scan.literal(":");
  c.minute = scan.digits(2);
  scan.literal(":");
  c.second = scan.digits(2);
  c.ns = scan.fraction();
  return c;
}

bool date_exists(std::chrono::year_month_day date, std::string* reason) {
  const int year = static_cast<int>(date.year());
  if (!date.ok())
    *reason = "is no day of the calendar";
  else if (year < kFirstYear || year > kLastYear)
    *reason = "must be of the years 1970 to 2199";
  else
    return true;
  return false;
}

bool time_exists(const Calendar& c, std::string* reason) {
  if (!date_exists(c.date, reason)) return false;
  if (c.hour <= 23 && c.minute <= 59 && c.second <= 59) return true;
  if (c.hour == 23 && c.minute == 59 && c.second == 60) return true;
  *reason = "is no time of day";
  return false;
}

std::string calendar_text(std::int64_t posix_s, std::int32_t ns, bool leap_second) {
  const std::int64_t days = posix_s >= 0 ? posix_s / kDay : (posix_s - kDay + 1) / kDay;
  const std::int64_t rest = posix_s - days * kDay;
  return fmt::format("{}T{:02}:{:02}:{:02}.{:09}", date_text(posix_s), rest / 3600, rest / 60 % 60,
                     rest % 60 + (leap_second ? 1 : 0), ns);
}

}  // namespace

std::optional<UtcTime> parse_utc(std::string_view text, std::string* reason) {
  Scanner scan(text);
  const Calendar c = scan_calendar(scan);
  scan.literal("Z");
  if (!scan.done()) {
    *reason = "must be UTC as in 2016-12-31T23:59:60.25Z";
    return {};
  }
  if (!time_exists(c, reason)) return {};
  return UtcTime{c.posix_s(), c.ns, c.second == 60};
}

std::optional<std::int64_t> parse_tai(std::string_view text, std::string* reason) {
  Scanner scan(text);
  const Calendar c = scan_calendar(scan);
  scan.optional(" TAI");
  if (!scan.done()) {
    *reason = "must be TAI as in 2017-01-01T00:00:36.25 (without Z)";
    return {};
  }
  if (!time_exists(c, reason)) return {};
  if (c.second == 60) {
    *reason = "TAI has no 23:59:60";
    return {};
  }
  return c.posix_s() * kSecond + c.ns;
}

std::optional<std::int64_t> parse_date(std::string_view text, std::string* reason) {
  Scanner scan(text);
  const auto date = scan_date(scan);
  if (!scan.done()) {
    *reason = "must be a date as in 2016-12-31";
    return {};
  }
  if (!date_exists(date, reason)) return {};
  return std::chrono::sys_days(date).time_since_epoch().count() * kDay;
}

std::optional<std::int64_t> parse_seconds(std::string_view text, std::string* reason) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [behind, error] = std::from_chars(text.data(), end, number);
  Scanner rest(std::string_view(behind, static_cast<std::size_t>(end - behind)));
  if (error == std::errc() && text[0] != '-') {
    if (rest.optional("ns") && rest.done()) return number;
    const std::int32_t ns = rest.fraction();
    if (rest.done() && number <= INT64_MAX / kSecond - 1) return number * kSecond + ns;
  }
  *reason = "must be seconds as in 1483228799.25, or whole nanoseconds as in 1483228799250000000ns";
  return {};
}

std::string utc_text(const UtcTime& time) {
  return calendar_text(time.posix_s, time.ns, time.leap_second) + "Z";
}

std::string tai_text(std::int64_t ns) {
  const std::int64_t rest = ns % kSecond;
  const bool below = rest < 0;
  return calendar_text(ns / kSecond - (below ? 1 : 0),
                       static_cast<std::int32_t>(below ? rest + kSecond : rest), false) +
         " TAI";
}

std::string date_text(std::int64_t posix_s) {
  const std::int64_t days = posix_s >= 0 ? posix_s / kDay : (posix_s - kDay + 1) / kDay;
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

std::string seconds_text(std::int64_t ns) {
  const std::uint64_t size =
      ns < 0 ? 0 - static_cast<std::uint64_t>(ns) : static_cast<std::uint64_t>(ns);
  return fmt::format("{}{}.{:09}", ns < 0 ? "-" : "", size / kSecond, size % kSecond);
}

}  // namespace clockpage
