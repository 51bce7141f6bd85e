// SPDX-License-Identifier: MIT
#include "recorder.hpp"

#include <errno.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <boost/interprocess/anonymous_shared_memory.hpp>
#include <chrono>
#include <cstring>
#include <new>
#include <thread>

#include "exit_code.hpp"
#include "whole_file.hpp"

namespace clockpage::tool {
namespace {

using boost::interprocess::mapped_region;

// 17 minutes at a period of 1 ms. Memory that is never touched costs nothing.
constexpr uint64_t kMaxSegments = uint64_t{1} << 20;

mapped_region shared_memory(uint64_t bytes) {
  try {
    return boost::interprocess::anonymous_shared_memory(bytes);
  } catch (const boost::interprocess::interprocess_exception& error) {
    throw Failure("", fmt::format("no memory for recording ({} bytes): {}", bytes, error.what()));
  }
}

// Makes pages present and writable in this process.
void make_present(void* memory, size_t size) {
#ifdef MADV_POPULATE_WRITE  // Linux 5.14
  if (madvise(memory, size, MADV_POPULATE_WRITE) == 0) return;
  if (errno != EINVAL)
    throw Failure("", fmt::format("no memory for recording: {}", std::strerror(errno)));
#endif
  auto* bytes = static_cast<volatile unsigned char*>(memory);
  for (size_t at = 0; at < size; at += 4096) bytes[at] = 0;
}

clockpage_segment copy_segment(const clockpage_segment& shared) {
  using Word [[gnu::may_alias]] = uint64_t;
  std::array<uint64_t, sizeof(clockpage_segment) / sizeof(uint64_t)> words;
  const auto* from = reinterpret_cast<const Word*>(&shared);
  for (size_t i = 0; i < words.size(); i++) words[i] = CLOCKPAGE_LOAD(from[i]);
  clockpage_segment copy;
  std::memcpy(&copy, words.data(), sizeof copy);
  return copy;
}

std::array<const clockpage_data_page*, kHistoryPages> pages_of(const Page& page) {
  return {page.unscaled().page, page.scaled().page};
}

}  // namespace

uint64_t RingFollower::index() const { return clockpage_load_index(&page_.index); }

bool RingFollower::copy(uint64_t number, HistorySegment& out) const {
  out.segment = copy_segment(page_.segment[number % CLOCKPAGE_SEGMENT_COUNT]);
  clockpage_fence_before_recheck();  // P2
  // The slot may be under the pen from the moment that index is 15 ahead.
  out.index = CLOCKPAGE_LOAD(page_.index);
  return out.index - number <= CLOCKPAGE_HISTORY && out.segment.number == number;
}

void RingFollower::poll() {
  const uint64_t newest = index();
  const uint64_t oldest = newest - CLOCKPAGE_HISTORY;
  uint64_t number = state_.last + 1;
  // At first whatever of the history there is; later on to what is still there.
  if (!state_.begun || static_cast<int64_t>(oldest - number) > 0) number = oldest;
  for (; number != newest + 1; number++) {
    HistorySegment segment = {};
    if (!copy(number, segment)) continue;  // never filled, or overwritten meanwhile
    segment.after_gap = state_.begun && number != state_.last + 1 ? 1 : 0;
    state_.gaps += segment.after_gap;
    state_.begun = true;
    state_.last = number;
    if (HistorySegment* place = state_.log.add()) *place = segment;
  }
}

Recorder::Recorder(unsigned processes, uint64_t max_readings)
    : processes_(processes),
      shared_memory_(shared_memory(sizeof(Shared))),
      reading_memory_(shared_memory(processes * max_readings * sizeof(HistoryReading))),
      segment_memory_(shared_memory(kHistoryPages * kMaxSegments * sizeof(HistorySegment))),
      shared_(new (shared_memory_.get_address()) Shared()) {
  auto* readings = static_cast<HistoryReading*>(reading_memory_.get_address());
  for (unsigned i = 0; i < processes; i++) {
    shared_->readings[i].record = readings + i * max_readings;
    shared_->readings[i].capacity = max_readings;
    shared_->cpu[i] = -1;
  }
  auto* segments = static_cast<HistorySegment*>(segment_memory_.get_address());
  for (unsigned i = 0; i < kHistoryPages; i++) {
    shared_->segments[i].log.record = segments + i * kMaxSegments;
    shared_->segments[i].log.capacity = kMaxSegments;
  }
}

RecordLog<HistoryReading>& Recorder::log_for_adding(unsigned process) {
  RecordLog<HistoryReading>& log = shared_->readings[process];
  make_present(log.record, log.capacity * sizeof(HistoryReading));
  return log;
}

void Recorder::follow(const Page& page, const std::atomic<uint32_t>& stop) {
  // The history is 14 periods: to be on the CPU in time matters more than to be fair.
  sched_param parameter = {};
  parameter.sched_priority = 5;
  (void)sched_setscheduler(0, SCHED_FIFO, &parameter);
  prctl(PR_SET_TIMERSLACK, 1UL);
  const auto period = static_cast<int64_t>(page.diagnostics().period_ns);
  const std::chrono::nanoseconds pause(std::clamp<int64_t>(period / 2, 200'000, 2'000'000));
  const auto pages = pages_of(page);
  bool last = false;
  while (!last) {
    last = stop.load(std::memory_order_acquire) != 0;
    for (unsigned i = 0; i < kHistoryPages; i++)
      RingFollower(*pages[i], shared_->segments[i]).poll();
    if (!last) std::this_thread::sleep_for(pause);
  }
}

bool Recorder::settle(const Page& page, std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  const clockpage_data_page& last = *page.scaled().page;  // stored after the unscaled one
  const uint64_t index = clockpage_load_index(&last.index);
  // The second one from here: the next may have been chosen, and its predecessor not accounted
  // for, when the last reading was made.
  while (static_cast<int64_t>(clockpage_load_index(&last.index) - index) < 2) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

Recorder::Summary Recorder::summary() const {
  Summary summary;
  for (unsigned i = 0; i < processes_; i++) {
    summary.readings += shared_->readings[i].count;
    summary.readings_dropped += shared_->readings[i].dropped;
  }
  for (const RingFollower::State& state : shared_->segments) {
    summary.segments += state.log.count;
    summary.segments_dropped += state.log.dropped;
    summary.gaps += state.gaps;
  }
  return summary;
}

void Recorder::write(const std::string& file, const Page& page, const clockpage_diagnostics& before,
                     bool settled) const {
  const Summary sums = summary();
  HistoryHeader header = {};
  std::copy_n(kHistoryMagic, header.magic.size(), header.magic.begin());
  header.major = kHistoryMajor;
  header.minor = kHistoryMinor;
  header.header_size = sizeof header;
  header.file_size = sizeof header + kHistoryPages * sizeof(HistoryPage) +
                     processes_ * sizeof(HistoryProcess) + sums.segments * sizeof(HistorySegment) +
                     sums.readings * sizeof(HistoryReading);
  header.generation = page.directory().generation;
  std::copy_n(page.directory().host_id, header.host_id.size(), header.host_id.begin());
  std::copy_n(page.directory().boot_id, header.boot_id.size(), header.boot_id.begin());
  header.page_count = kHistoryPages;
  header.page_size = sizeof(HistoryPage);
  header.process_count = processes_;
  header.process_size = sizeof(HistoryProcess);
  header.segment_size = sizeof(HistorySegment);
  header.reading_size = sizeof(HistoryReading);
  header.counter_kind = page.directory().counter_kind;
  header.settled = settled ? 1 : 0;
  header.before = before;
  header.after = page.diagnostics();

  WholeFile out(file);
  out.write(&header, sizeof header);
  const auto pages = pages_of(page);
  for (unsigned i = 0; i < kHistoryPages; i++) {
    HistoryPage entry = {};
    entry.format = CLOCKPAGE_LOAD(pages[i]->format);
    entry.smear = CLOCKPAGE_LOAD(pages[i]->smear);
    entry.delta_shift = CLOCKPAGE_LOAD(pages[i]->delta_shift);
    entry.scale_frac_bits = CLOCKPAGE_LOAD(pages[i]->scale_frac_bits);
    entry.scale_ratio = CLOCKPAGE_LOAD(pages[i]->scale_ratio);
    entry.counter_frequency_hz = CLOCKPAGE_LOAD(pages[i]->counter_frequency_hz);
    entry.segment_count = shared_->segments[i].log.count;
    entry.segments_dropped = shared_->segments[i].log.dropped;
    out.write(&entry, sizeof entry);
  }
  for (unsigned i = 0; i < processes_; i++) {
    const RecordLog<HistoryReading>& log = shared_->readings[i];
    const HistoryProcess entry = {log.count, log.dropped, shared_->cpu[i], 0};
    out.write(&entry, sizeof entry);
  }
  for (const RingFollower::State& state : shared_->segments)
    out.write(state.log.record, state.log.count * sizeof(HistorySegment));
  for (unsigned i = 0; i < processes_; i++)
    out.write(shared_->readings[i].record, shared_->readings[i].count * sizeof(HistoryReading));
  out.finish();
}

}  // namespace clockpage::tool
