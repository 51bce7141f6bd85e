// SPDX-License-Identifier: MIT
//
// The file that `clockpage verify --record` writes and `clockpage check-history` reads: what was
// published, and what every process read. Spec section 12 has the rules that it is held against.
//
//   HistoryHeader
//   HistoryPage       x page_count      the pages that were read
//   HistoryProcess    x process_count
//   HistorySegment    page by page, HistoryPage.segment_count of each, in order of number
//   HistoryReading    process by process, HistoryProcess.reading_count of each, in program order
//
// Nothing else: the sum of the sizes is the file's size. Little-endian, fixed widths, no padding
// that is not named; unused bytes are zero.
#pragma once

#include <clockpage/reader.h>

#include <array>
#include <bit>
#include <cstdint>

namespace clockpage::tool {

static_assert(std::endian::native == std::endian::little, "the file's structs are written as is");

inline constexpr char kHistoryMagic[] = "CLKPGHST";
inline constexpr uint16_t kHistoryMajor = 2;
inline constexpr uint16_t kHistoryMinor = 0;
inline constexpr unsigned kHistoryPages = 2;

struct HistoryHeader {
  std::array<char, 8> magic;
  uint16_t major;  // another one is another layout
  uint16_t minor;
  uint32_t header_size;  // bytes of this struct
  uint64_t file_size;    // bytes of the whole file
  uint64_t generation;   // of the region, from its directory
  std::array<uint8_t, 16> host_id;
  std::array<uint8_t, 16> boot_id;
  uint32_t page_count;  // 1 or 2: one per format
  uint32_t page_size;   // bytes of one HistoryPage, and so on
  uint32_t process_count;
  uint32_t process_size;
  uint32_t segment_size;
  uint32_t reading_size;
  uint8_t counter_kind;  // CLOCKPAGE_COUNTER_*
  // 1: a segment was published after the last reading and before `after` was taken, so that all
  // the lateness that the readings can have seen has been counted there.
  uint8_t settled;
  std::array<uint8_t, 6> reserved;
  clockpage_diagnostics before;  // the producer's words, before the first reading
  clockpage_diagnostics after;
};
static_assert(sizeof(HistoryHeader) == 416);

/// A page that was read; its constants.
struct HistoryPage {
  uint8_t format;  // CLOCKPAGE_FORMAT_*
  uint8_t smear;   // CLOCKPAGE_SMEAR_*
  uint8_t delta_shift;
  uint8_t scale_frac_bits;
  std::array<uint8_t, 4> reserved;
  uint64_t scale_ratio;
  uint64_t counter_frequency_hz;
  uint64_t segment_count;     // in this file
  uint64_t segments_dropped;  // there was no room for them; they are at the end
};
static_assert(sizeof(HistoryPage) == 40);

struct HistoryProcess {
  uint64_t reading_count;     // in this file
  uint64_t readings_dropped;  // there was no room for them; they are at the end
  int32_t cpu;                // that it was pinned to; -1: none
  uint32_t reserved;
};
static_assert(sizeof(HistoryProcess) == 24);

/// One published segment, as a follower of the ring found it.
struct HistorySegment {
  uint64_t after_gap;  // 1: the segments between the one before and this one were missed
  uint64_t index;      // the page's, when it was copied
  clockpage_segment segment;
};
static_assert(sizeof(HistorySegment) == 208);

/// What a record of a process is.
enum HistoryKind : uint8_t {
  kHistoryNow = 0,      ///< a reading of the clock
  kHistoryAgain = 1,    ///< the time at the counter value of the reading received last
  kHistoryRefused = 2,  ///< the page refused; only the links below have a meaning
};

/// In `flags` of a reading, with CLOCKPAGE_TIME_AMBIGUOUS: it is the second of the two instants at
/// which REALTIME reads so, the inserted leap second itself.
inline constexpr uint8_t kHistorySecondTime = 0x80;

/// What `flags` of a reading is.
inline uint8_t history_flags(const clockpage_time& time) {
  const bool second = (time.flags & CLOCKPAGE_TIME_AMBIGUOUS) != 0 &&
                      time.leap_indicator == CLOCKPAGE_LEAP_JUST_PAST;
  return static_cast<uint8_t>(time.flags | (second ? kHistorySecondTime : 0));
}

/// How far `now` is behind `before`, ns; negative: ahead of it. At an inserted leap second, which
/// REALTIME counts twice, the second time is behind the first by a second and yet after it.
inline int64_t backward_by(int64_t before_ns, uint8_t before_flags, int64_t now_ns,
                           uint8_t now_flags) {
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t plain =
      static_cast<int64_t>(static_cast<uint64_t>(before_ns) - static_cast<uint64_t>(now_ns));
  if (!(before_flags & now_flags & CLOCKPAGE_TIME_AMBIGUOUS)) return plain;
  if (plain > kSecond || plain < -kSecond) return plain;
  return plain + ((before_flags & kHistorySecondTime) ? kSecond : 0) -
         ((now_flags & kHistorySecondTime) ? kSecond : 0);
}

/// One reading.
struct HistoryReading {
  uint64_t counter;  // of its page
  int64_t ns;
  int64_t earliest_ns;
  int64_t latest_ns;
  uint64_t epoch;
  uint64_t index;     // the page's, loaded after the reading
  uint64_t received;  // number of the message received right before it; 0: none.
                      // kHistoryAgain: of the message whose counter value it is the time at
  uint64_t sent;      // number of the message that carried it to another process; 0: none
  uint32_t sequence;  // 0, 1, 2... in its process
  uint16_t process;
  int16_t cpu;     // -1: not known
  uint8_t kind;    // HistoryKind
  uint8_t clock;   // CLOCKPAGE_REALTIME and so on
  uint8_t format;  // CLOCKPAGE_FORMAT_*
  uint8_t flags;   // CLOCKPAGE_TIME_*, kHistorySecondTime
  uint8_t status;  // CLOCKPAGE_STATUS_*
  uint8_t reason;  // CLOCKPAGE_REASON_*
  std::array<uint8_t, 2> reserved;
};
static_assert(sizeof(HistoryReading) == 80);

}  // namespace clockpage::tool
