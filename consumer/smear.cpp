// SPDX-License-Identifier: MIT
#include "smear.hpp"

#include <clockpage/fixed_point.h>

#include <algorithm>
#include <charconv>

namespace clockpage {

std::int64_t LeapSecond::tai_ns() const noexcept {
  return (utc_s + std::min(before_s, after_s)) * kNsPerSecond;
}

namespace {

template <typename Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::optional<Smear> parse_linear(std::string_view text, std::string* reason) {
  const std::size_t colon = text.find(':');
  std::int32_t start = 0;
  std::uint32_t length = 0;
  if (colon == std::string_view::npos || !read_number(text.substr(0, colon), start) ||
      !read_number(text.substr(colon + 1), length)) {
    *reason = "must be linear:START:LENGTH in whole seconds, START from midnight UTC";
    return std::nullopt;
  }
  if (length < kMinSmearLength || length > kMaxSmearLength) {
    *reason = "LENGTH must be 100 to 1209600 s";
    return std::nullopt;
  }
  // The leap second itself must be within it or at one of its ends.
  if (start > 0 || start < -static_cast<std::int64_t>(length)) {
    *reason = "START must be -LENGTH to 0: the leap second lies within the smear or at its ends";
    return std::nullopt;
  }
  const Smear smear{CLOCKPAGE_SMEAR_LINEAR, start, length};
  for (const Smear& known : {kNoonSmear, kUtcSls})
    if (known.start_s == start && known.length_s == length) return known;
  return smear;
}

}  // namespace

std::optional<Smear> parse_smear(std::string_view text, std::string* reason) {
  constexpr std::string_view linear = "linear:";
  if (text == "none") return kNoSmear;
  if (text == "noon") return kNoonSmear;
  if (text == "utc-sls") return kUtcSls;
  if (text.substr(0, linear.size()) == linear)
    return parse_linear(text.substr(linear.size()), reason);
  *reason = "must be none, noon, utc-sls or linear:START:LENGTH";
  return std::nullopt;
}

std::string smear_name(const Smear& smear) {
  switch (smear.kind) {
    case CLOCKPAGE_SMEAR_NONE:
      return "none";
    case CLOCKPAGE_SMEAR_NOON:
      return "noon";
    case CLOCKPAGE_SMEAR_UTC_SLS:
      return "utc-sls";
    default:
      return "linear:" + std::to_string(smear.start_s) + ":" + std::to_string(smear.length_s);
  }
}

std::int64_t UtcOffset::at(std::int64_t tai_ns) const noexcept {
  if (tai_ns < start_ns) return before_ns;
  if (tai_ns >= end_ns) return after_ns;
  const auto into = static_cast<std::uint64_t>(tai_ns) - static_cast<std::uint64_t>(start_ns);
  if (after_ns >= before_ns)
    return before_ns + static_cast<std::int64_t>(clockpage_mul_frac(into, slope_frac));
  return before_ns - static_cast<std::int64_t>(clockpage_mul_frac_up(into, slope_frac));
}

UtcOffset constant_offset(std::int64_t offset_ns) noexcept {
  return {offset_ns, CLOCKPAGE_NO_LEAP, CLOCKPAGE_NO_LEAP, offset_ns, 0};
}

UtcOffset offset_ramp(std::int64_t before_ns, std::int64_t start_ns, std::int64_t end_ns,
                      std::int64_t after_ns) noexcept {
  const auto moves = static_cast<std::uint64_t>(after_ns > before_ns ? after_ns - before_ns
                                                                     : before_ns - after_ns);
  const auto length = static_cast<std::uint64_t>(end_ns - start_ns);
  const auto slope = static_cast<std::uint64_t>((clockpage_u128{moves} << 64) / length);
  return {before_ns, start_ns, end_ns, after_ns, slope};
}

// In seconds of the smeared clock a smear takes length_s; of TAI one more where a second is
// inserted, one less where it is deleted.
UtcOffset leap_offset(const LeapSecond& leap, const Smear& smear) noexcept {
  const std::int64_t before = leap.before_s * kNsPerSecond;
  const std::int64_t after = leap.after_s * kNsPerSecond;
  if (smear.length_s == 0) return {before, leap.tai_ns(), leap.tai_ns(), after, 0};
  const std::int64_t start = (leap.utc_s + smear.start_s + leap.before_s) * kNsPerSecond;
  const std::int64_t length = smear.length_s * kNsPerSecond + (after - before);
  return offset_ramp(before, start, start + length, after);
}

}  // namespace clockpage
