// SPDX-License-Identifier: MIT
//
// Fuzz target: any bytes as a table of leap seconds. They are refused with a line number within the
// text and a reason of one line, or the table keeps what its header says.
//
// Input: the text. It is parsed as it is, and once more with the hash that fits it, for no fuzzer
// finds one.
#include <algorithm>
#include <boost/uuid/detail/sha1.hpp>

#include "fuzz.hpp"
#include "leap_table.hpp"

namespace {

using clockpage::LeapSecond;
using clockpage::LeapTable;
using clockpage::LeapTableError;

// The digits that line #h is made of, as far as the lines are good ones.
struct Digits {
  std::string update, expiry, entries;

  void take(std::string_view line) {
    std::string* to = &entries;
    if (line.starts_with("#$")) to = &update;
    if (line.starts_with("#@")) to = &expiry;
    if (to != &entries) {
      line.remove_prefix(2);
    } else if (line.starts_with('#')) {
      return;
    }
    for (const char c : line.substr(0, line.find('#')))
      if (c >= '0' && c <= '9') *to += c;
  }
};

std::string with_its_hash(std::string_view text) {
  Digits digits;
  std::string all;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.starts_with("#h")) continue;
    digits.take(line);
    all.append(line) += '\n';
  }
  boost::uuids::detail::sha1 sha1;
  for (const std::string& part : {digits.update, digits.expiry, digits.entries})
    sha1.process_bytes(part.data(), part.size());
  unsigned int digest[5] = {};
  sha1.get_digest(digest);
  all += "#h";
  for (const unsigned int word : digest) {
    char hexadecimal[16];
    std::snprintf(hexadecimal, sizeof hexadecimal, " %x", word);
    all += hexadecimal;
  }
  return all;
}

void check_error(const LeapTableError& error, std::string_view text) {
  const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
  CLOCKPAGE_FUZZ_CHECK(static_cast<std::ptrdiff_t>(error.line) <= lines);
  CLOCKPAGE_FUZZ_CHECK(!error.reason.empty() && error.reason.size() < 100);
  for (const char c : error.reason) CLOCKPAGE_FUZZ_CHECK(c >= ' ' && c <= '~');
}

void check_table(const LeapTable& table) {
  std::int64_t now_s = LeapTable::kBegin;
  std::int64_t offset_s = LeapTable::kFirstOffset;
  CLOCKPAGE_FUZZ_CHECK(!table.tai_minus_utc_s(now_s - 1));
  for (const LeapSecond& leap : table.leaps()) {
    CLOCKPAGE_FUZZ_CHECK(table.tai_minus_utc_s(leap.utc_s - 1) == offset_s);
    CLOCKPAGE_FUZZ_CHECK(table.next_after(now_s) == leap);
    CLOCKPAGE_FUZZ_CHECK(leap.utc_s > now_s && leap.utc_s % 86400 == 0);
    CLOCKPAGE_FUZZ_CHECK(leap.before_s == offset_s);
    CLOCKPAGE_FUZZ_CHECK(std::abs(leap.after_s - leap.before_s) == 1);
    now_s = leap.utc_s;
    offset_s = leap.after_s;
    CLOCKPAGE_FUZZ_CHECK(table.tai_minus_utc_s(now_s) == offset_s);
    // In ns within 64 bits.
    CLOCKPAGE_FUZZ_CHECK(leap.tai_ns() / clockpage::kNsPerSecond < 7'300'000'000);
  }
  CLOCKPAGE_FUZZ_CHECK(!table.next_after(now_s));
  CLOCKPAGE_FUZZ_CHECK(table.expires_s() > table.updated_s());
}

void check(std::string_view text) {
  const auto parsed = LeapTable::parse(text);
  if (const auto* error = std::get_if<LeapTableError>(&parsed))
    check_error(*error, text);
  else
    check_table(std::get<LeapTable>(parsed));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(text);
  check(with_its_hash(text));
  return 0;
}
