// SPDX-License-Identifier: MIT
// For tests: tables of leap seconds, the real ones and imaginary ones.
#pragma once

#include <fmt/format.h>

#include <boost/uuid/detail/sha1.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "leap_table.hpp"

namespace clockpage::producer {

inline constexpr std::int64_t k2012Leap = 1341100800;  // 2012-07-01
inline constexpr std::int64_t k2015Leap = 1435708800;  // 2015-07-01
inline constexpr std::int64_t k2016Leap = 1483228800;  // 2017-01-01

// A leap-seconds.list of (POSIX time, TAI - UTC from then on) after 1972-01-01, with its hash.
inline std::string leap_table_text(const std::vector<std::pair<std::int64_t, int>>& entries) {
  constexpr std::int64_t to_1900 = 2'208'988'800;
  const std::string updated = "3960835200";
  const std::string expires = "3991593600";
  std::string text = fmt::format("#$\t{}\n#@\t{}\n", updated, expires);
  std::string hashed = updated + expires;
  const auto add = [&](std::int64_t utc_s, int offset) {
    text += fmt::format("{} {}\n", utc_s + to_1900, offset);
    hashed += fmt::format("{}{}", utc_s + to_1900, offset);
  };
  add(LeapTable::kBegin, 10);
  for (const auto& [utc_s, offset] : entries) add(utc_s, offset);
  boost::uuids::detail::sha1 sha;
  sha.process_bytes(hashed.data(), hashed.size());
  unsigned digest[5];
  sha.get_digest(digest);
  return text + fmt::format("#h {:x} {:x} {:x} {:x} {:x}\n", digest[0], digest[1], digest[2],
                            digest[3], digest[4]);
}

inline LeapTable leap_table_of(const std::vector<std::pair<std::int64_t, int>>& entries) {
  auto table = LeapTable::parse(leap_table_text(entries));
  if (const auto* error = std::get_if<LeapTableError>(&table))
    throw std::logic_error(error->reason);
  return std::get<LeapTable>(std::move(table));
}

// The real ones.
inline LeapTable leap_table() {
  return leap_table_of({{78796800, 11},   {94694400, 12},   {126230400, 13},  {157766400, 14},
                        {189302400, 15},  {220924800, 16},  {252460800, 17},  {283996800, 18},
                        {315532800, 19},  {362793600, 20},  {394329600, 21},  {425865600, 22},
                        {489024000, 23},  {567993600, 24},  {631152000, 25},  {662688000, 26},
                        {709948800, 27},  {741484800, 28},  {773020800, 29},  {820454400, 30},
                        {867715200, 31},  {915148800, 32},  {1136073600, 33}, {1230768000, 34},
                        {1341100800, 35}, {1435708800, 36}, {1483228800, 37}});
}

}  // namespace clockpage::producer
