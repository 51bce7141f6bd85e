// SPDX-License-Identifier: MIT
#include "stall_meter.hpp"

#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

namespace clockpage::tool {
namespace {

constexpr int64_t kPeriodNs = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;

int64_t now_ns() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * kSecond + now.tv_nsec;
}

}  // namespace

void measure_stalls(StallReport& report, const std::atomic<uint32_t>& stop) {
  sched_param parameter = {};
  parameter.sched_priority = 10;
  report.real_time = sched_setscheduler(0, SCHED_FIFO, &parameter) == 0;
  prctl(PR_SET_TIMERSLACK, 1UL);
  const int64_t begin = now_ns();
  int64_t due = begin;
  while (!stop.load(std::memory_order_relaxed)) {
    due += kPeriodNs;
    timespec wake = {};
    wake.tv_sec = due / kSecond;
    wake.tv_nsec = due % kSecond;
    if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr) != 0) continue;
    const int64_t latency = now_ns() - due;
    report.latency_ns.add(latency);
    if (latency > kStallNs) report.lost_ns += static_cast<uint64_t>(latency);
    // One stall counts once, whatever number of periods it lasts.
    if (latency > kPeriodNs) due += latency / kPeriodNs * kPeriodNs;
  }
  report.elapsed_ns = static_cast<uint64_t>(now_ns() - begin);
}

}  // namespace clockpage::tool
