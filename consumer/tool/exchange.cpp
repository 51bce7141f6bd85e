// SPDX-License-Identifier: MIT
#include "exchange.hpp"

#include <sched.h>

#include <algorithm>

namespace clockpage::tool {
namespace {

// After so many messages the clock changes.
constexpr uint64_t kMessagesPerClock = 16;

int clock_of_message(uint64_t message) {
  return message / kMessagesPerClock % 2 ? CLOCKPAGE_MONOTONIC : CLOCKPAGE_REALTIME;
}

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

class Participant {
 public:
  Participant(Exchange& exchange, unsigned self, int cpu, const Page& page)
      : exchange_(exchange),
        self_(self),
        cpu_(cpu),
        page_(page),
        random_(self + 88172645463325252) {}

  void run() {
    const unsigned count = exchange_.processes;
    if (self_ == 0) send(1, read(clock_of_message(1)));
    for (uint64_t message = self_ == 0 ? count : self_; await(message); message += count) {
      const Reading received = exchange_.slot[self_].reading;
      Reading own = read(received.clock);
      count_exchange(tally_, message, received, own);
      if (exchange_.target && message >= exchange_.target) {
        exchange_.stop.store(1);
        break;
      }
      const int clock = clock_of_message(message + 1);
      if (clock != own.clock) own = read(clock);
      send(message + 1, own);
    }
    exchange_.result[self_].tally = tally_;
  }

 private:
  // Half of the readings go through the scaled page, in no pattern.
  uint8_t draw_format() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_ >> 63 ? CLOCKPAGE_FORMAT_SCALED : CLOCKPAGE_FORMAT_UNSCALED;
  }

  int read_once(int clock, uint8_t format, clockpage_time& time) const {
    if (format == CLOCKPAGE_FORMAT_SCALED)
      return clockpage_at_bounds(&page_.scaled(), clock, page_.scaled_counter(), &time);
    return clockpage_now_bounds(&page_.unscaled(), clock, &time);
  }

  Reading read(int clock) {
    Reading reading;
    reading.clock = static_cast<uint8_t>(clock);
    reading.format = draw_format();
    reading.cpu = static_cast<int16_t>(cpu_);
    clockpage_time time;
    // A step, or a stall of the whole history, between counter and page: the next try succeeds.
    for (int attempt = 0; attempt < 10; attempt++) {
      const int error = read_once(clock, reading.format, time);
      if (!error) {
        fill(reading, time);
        return reading;
      }
      (error == CLOCKPAGE_E_BUSY ? tally_.busy : tally_.errors)++;
      if (error != CLOCKPAGE_E_BUSY) tally_.last_error = error;
    }
    return reading;
  }

  void fill(Reading& reading, const clockpage_time& time) {
    const auto* page =
        reading.format == CLOCKPAGE_FORMAT_SCALED ? page_.scaled().page : page_.unscaled().page;
    reading.ns = time.ns;
    reading.counter = time.counter;
    reading.epoch = time.epoch;
    reading.index = CLOCKPAGE_LOAD(page->index);
    reading.flags = time.flags;
    reading.valid = true;
    tally_.reads++;
    if (time.flags & CLOCKPAGE_TIME_OVERDUE) tally_.overdue++;
  }

  void send(uint64_t message, const Reading& reading) {
    Exchange::Slot& slot = exchange_.slot[message % exchange_.processes];
    slot.reading = reading;
    slot.message.store(message, std::memory_order_release);
  }

  // Until the message is here; false: the run has ended.
  bool await(uint64_t message) const {
    const Exchange::Slot& slot = exchange_.slot[self_];
    for (uint64_t spins = 1;; spins++) {
      if (slot.message.load(std::memory_order_acquire) == message) return true;
      if (exchange_.stop.load(std::memory_order_relaxed)) return false;
      pause_cpu();
      // The sender may be waiting for this very CPU.
      if (spins % exchange_.spins == 0) sched_yield();
    }
  }

  Exchange& exchange_;
  const unsigned self_;
  const int cpu_;
  const Page& page_;
  uint64_t random_;
  ExchangeTally tally_;
};

}  // namespace

Order order_of(const Reading& received, const Reading& own) {
  if (received.epoch != own.epoch) return Order::kOtherEpoch;
  const int64_t allowed = received.format == own.format ? 0 : 2;
  if (own.ns >= received.ns - allowed) return Order::kInOrder;
  const bool overdue = (received.flags | own.flags) & CLOCKPAGE_TIME_OVERDUE;
  return overdue ? Order::kOverdueBackward : Order::kBackward;
}

void count_exchange(ExchangeTally& tally, uint64_t message, const Reading& received,
                    const Reading& own) {
  if (!received.valid || !own.valid) return;
  tally.exchanges++;
  const Order order = order_of(received, own);
  if (order == Order::kOtherEpoch) {
    tally.other_epoch++;
    return;
  }
  if (!((received.flags | own.flags) & CLOCKPAGE_TIME_OVERDUE)) {
    tally.leased++;
    tally.least_step_ns = std::min(tally.least_step_ns, own.ns - received.ns);
  }
  if (order == Order::kInOrder) return;
  const int64_t size = received.ns - own.ns;
  if (order == Order::kOverdueBackward) {
    tally.overdue_backward++;
    tally.largest_overdue_backward_ns = std::max(tally.largest_overdue_backward_ns, size);
    return;
  }
  tally.backward++;
  tally.largest_backward_ns = std::max(tally.largest_backward_ns, size);
  if (tally.offences < tally.offence.size())
    tally.offence[tally.offences++] = {message, received, own};
}

uint64_t Exchange::passed() const {
  uint64_t newest = 0;
  for (unsigned i = 0; i < processes; i++)
    newest = std::max(newest, slot[i].message.load(std::memory_order_relaxed));
  return newest;
}

void run_exchange(Exchange& exchange, unsigned self, int cpu, const Page& page) {
  Participant(exchange, self, cpu, page).run();
}

}  // namespace clockpage::tool
