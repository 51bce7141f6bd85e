// SPDX-License-Identifier: MIT
#include "leap_table.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/uuid/detail/sha1.hpp>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace clockpage {

namespace {

// Seconds from 1900-01-01, in which the file counts (as NTP does), to 1970-01-01.
constexpr std::int64_t kNtpToPosix = 2'208'988'800;
constexpr std::int64_t kSecondsPerDay = 86'400;
constexpr std::int64_t k2200 = 7'258'118'400;  // in ns, later ones leave 64 bits before long
// The published one is 5 kB.
constexpr std::size_t kLargestFile = 1 << 20;
constexpr std::size_t kLongestNumber = 20;
constexpr std::string_view kBlanks = " \t\r";

using Words = std::array<std::uint32_t, 5>;

// Takes the next word off `line`; empty at its end.
std::string_view next_word(std::string_view& line) {
  const std::size_t begin = std::min(line.find_first_not_of(kBlanks), line.size());
  const std::size_t end = std::min(line.find_first_of(kBlanks, begin), line.size());
  const std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

template <typename Number>
std::optional<Number> number(std::string_view word, int base = 10) {
  if (word.size() > kLongestNumber) return {};
  Number value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  if (word.empty() || error != std::errc{} || end != word.data() + word.size()) return {};
  return value;
}

// POSIX time from seconds since 1900.
std::optional<std::int64_t> time_from(std::string_view word) {
  const auto ntp = number<std::uint64_t>(word);
  if (!ntp || *ntp >= kNtpToPosix + k2200) return {};
  return static_cast<std::int64_t>(*ntp) - kNtpToPosix;
}

bool begins_a_month(std::int64_t utc_s) {
  if (utc_s % kSecondsPerDay != 0) return false;
  const std::chrono::sys_days day{std::chrono::days{utc_s / kSecondsPerDay}};
  return std::chrono::year_month_day{day}.day() == std::chrono::day{1};
}

}  // namespace

class LeapTableParser {
 public:
  std::variant<LeapTable, LeapTableError> parse(std::string_view text) {
    if (text.size() > kLargestFile) return LeapTableError{0, "is far too long for a leap table"};
    while (!text.empty() && reason_.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      line_++;
      take_line(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    if (reason_.empty()) finish();
    if (!reason_.empty()) return LeapTableError{line_, reason_};
    return std::move(table_);
  }

 private:
  void fail(std::string reason) {
    if (reason_.empty()) reason_ = std::move(reason);
  }

  void take_line(std::string_view line) {
    if (line.starts_with("#$"))
      take_time(line.substr(2), "#$ (last update)", table_.updated_s_, update_digits_);
    else if (line.starts_with("#@"))
      take_time(line.substr(2), "#@ (expiry)", table_.expires_s_, expiry_digits_);
    else if (line.starts_with("#h"))
      take_hash(line.substr(2));
    else if (!line.starts_with('#') && line.find_first_not_of(kBlanks) != line.npos)
      take_entry(line.substr(0, line.find('#')));
  }

  void take_time(std::string_view rest, std::string_view what, std::int64_t& time,
                 std::string& digits) {
    const std::string_view word = next_word(rest);
    const auto read = time_from(word);
    if (!digits.empty()) return fail("a second line " + std::string(what));
    if (!read || !next_word(rest).empty())
      return fail("line " + std::string(what) + " is not one number of seconds");
    time = *read;
    digits = word;
  }

  void take_hash(std::string_view rest) {
    if (hash_) return fail("a second line #h (hash)");
    Words words{};
    for (std::uint32_t& word : words) {
      // Its leading zeros may be missing.
      const auto value = number<std::uint32_t>(next_word(rest), 16);
      if (!value) return fail("line #h is not five words of up to eight hexadecimal digits");
      word = *value;
    }
    if (!next_word(rest).empty()) return fail("line #h is longer than five words");
    hash_ = words;
    hash_line_ = line_;
  }

  void take_entry(std::string_view rest) {
    const std::string_view time = next_word(rest);
    const std::string_view offset = next_word(rest);
    const auto utc_s = time_from(time);
    const auto tai_minus_utc = number<std::int32_t>(offset);
    if (!utc_s || !tai_minus_utc || !next_word(rest).empty())
      return fail("is neither a comment nor seconds since 1900 and TAI - UTC");
    if (!begins_a_month(*utc_s)) return fail(std::string(time) + " does not begin a month");
    const LeapSecond leap{*utc_s, offset_, *tai_minus_utc};
    if (!begun_) {
      if (leap.utc_s != LeapTable::kBegin || leap.after_s != LeapTable::kFirstOffset)
        return fail("is not 10 s from 1972-01-01 on, with which UTC begins");
      begun_ = true;
    } else {
      if (leap.utc_s <= last_s_) return fail("is not later than the entry before it");
      if (std::abs(leap.after_s - leap.before_s) != 1)
        return fail("TAI - UTC does not change by one second");
      table_.leaps_.push_back(leap);
    }
    last_s_ = leap.utc_s;
    offset_ = leap.after_s;
    entry_digits_ += time;
    entry_digits_ += offset;
  }

  void finish() {
    line_ = 0;
    if (!begun_) return fail("has no entries");
    if (update_digits_.empty()) return fail("has no line #$ (last update)");
    if (expiry_digits_.empty()) return fail("has no line #@ (expiry)");
    if (!hash_) return fail("has no line #h (hash)");
    if (table_.expires_s_ <= table_.updated_s_) return fail("expires before it was made");
    if (digest() == *hash_) return;
    line_ = hash_line_;
    fail("the hash does not fit the table: it is damaged");
  }

  // SHA-1 of the digits of #$, #@ and each entry's two numbers, run together.
  [[nodiscard]] Words digest() const {
    boost::uuids::detail::sha1 sha1;
    for (const std::string& digits : {update_digits_, expiry_digits_, entry_digits_})
      sha1.process_bytes(digits.data(), digits.size());
    unsigned int digest[5] = {};
    sha1.get_digest(digest);
    Words words{};
    std::copy(std::begin(digest), std::end(digest), words.begin());
    return words;
  }

  LeapTable table_;
  bool begun_ = false;
  std::int64_t last_s_ = 0;
  std::int64_t offset_ = 0;
  unsigned line_ = 0;
  std::string reason_;
  std::string update_digits_;
  std::string expiry_digits_;
  std::string entry_digits_;
  std::optional<Words> hash_;
  unsigned hash_line_ = 0;
};

std::variant<LeapTable, LeapTableError> LeapTable::parse(std::string_view text) {
  return LeapTableParser().parse(text);
}

std::optional<std::int64_t> LeapTable::tai_minus_utc_s(std::int64_t utc_s) const noexcept {
  if (utc_s < kBegin) return {};
  std::int64_t offset = kFirstOffset;
  for (const LeapSecond& leap : leaps_)
    if (leap.utc_s <= utc_s) offset = leap.after_s;
  return offset;
}

std::optional<LeapSecond> LeapTable::next_after(std::int64_t utc_s) const noexcept {
  for (const LeapSecond& leap : leaps_)
    if (leap.utc_s > utc_s) return leap;
  return {};
}

namespace {

// At most one byte more than is allowed, so that a longer file is noticed and not cut off. Nothing
// where it cannot be read, and *reason says why.
std::optional<std::string> contents(int file, std::string* reason) {
  struct stat status {};
  if (fstat(file, &status) == 0 && !S_ISREG(status.st_mode)) {
    *reason = "is not a regular file";
    return {};
  }
  std::string text(kLargestFile + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t count = read(file, text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) *reason = std::string("cannot be read: ") + std::strerror(errno);
    if (count < 0) return {};
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  text.resize(size);
  return text;
}

}  // namespace

std::variant<LeapTable, std::string> read_leap_table(const std::string& path) {
  // Not to wait for the other side of a named pipe.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) return path + ": cannot be opened: " + std::strerror(errno);
  std::string reason;
  const auto text = contents(file, &reason);
  close(file);
  if (!text) return path + ": " + reason;
  auto parsed = LeapTable::parse(*text);
  if (auto* error = std::get_if<LeapTableError>(&parsed)) {
    if (error->line == 0) return path + ": " + error->reason;
    return path + ":" + std::to_string(error->line) + ": " + error->reason;
  }
  return std::get<LeapTable>(std::move(parsed));
}

}  // namespace clockpage
