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
  Participant(Exchange& exchange, unsigned self, int cpu, const Page& page,
              RecordLog<HistoryReading>* log)
      : exchange_(exchange),
        self_(self),
        cpu_(cpu),
        page_(page),
        log_(log),
        random_(self + 88172645463325252) {}

  void run() {
    const unsigned count = exchange_.processes;
    if (self_ == 0) begin();
    for (uint64_t message = self_ == 0 ? count : self_; await(message); message += count) {
      const Reading received = exchange_.slot[self_].reading;
      const Reading own = read(received.clock);
      count_exchange(tally_, message, received, own);
      if (exchange_.target && message >= exchange_.target) {
        exchange_.stop.store(1);
        record(own, kHistoryNow, message, 0);
        break;
      }
      const int clock = clock_of_message(message + 1);
      if (clock == own.clock) {
        send(message + 1, own);
        record(own, kHistoryNow, message, message + 1);
      } else {
        const Reading next = read(clock);
        send(message + 1, next);
        record(own, kHistoryNow, message, 0);
        record(next, kHistoryNow, 0, message + 1);
      }
      // While the next process is at work.
      evaluate_again(message, received);
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

  void begin() {
    const Reading first = read(clock_of_message(1));
    send(1, first);
    record(first, kHistoryNow, 0, 1);
  }

  // The received reading's counter value as this process sees it: leased, it is one and the same.
  void evaluate_again(uint64_t message, const Reading& received) {
    if (!received.valid) return;
    const clockpage_reader& reader =
        received.format == CLOCKPAGE_FORMAT_SCALED ? page_.scaled() : page_.unscaled();
    clockpage_time time;
    if (clockpage_at_bounds(&reader, received.clock, received.counter, &time)) {
      tally_.again_refused++;
      return;
    }
    Reading again = received;
    again.cpu = static_cast<int16_t>(cpu_);
    fill(again, time);
    count_again(tally_, message, received, again);
    record(again, kHistoryAgain, message, 0);
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
        tally_.reads++;
        if (time.flags & CLOCKPAGE_TIME_OVERDUE) tally_.overdue++;
        return reading;
      }
      (error == CLOCKPAGE_E_BUSY ? tally_.busy : tally_.errors)++;
      if (error != CLOCKPAGE_E_BUSY) tally_.last_error = error;
    }
    return reading;
  }

  void fill(Reading& reading, const clockpage_time& time) const {
    const auto* page =
        reading.format == CLOCKPAGE_FORMAT_SCALED ? page_.scaled().page : page_.unscaled().page;
    reading.ns = time.ns;
    reading.earliest_ns = time.earliest_ns;
    reading.latest_ns = time.latest_ns;
    reading.counter = time.counter;
    reading.epoch = time.epoch;
    reading.index = CLOCKPAGE_LOAD(page->index);
    reading.flags = history_flags(time);
    reading.status = time.status;
    reading.reason = time.reason;
    reading.valid = true;
  }

  void record(const Reading& reading, HistoryKind kind, uint64_t received, uint64_t sent) {
    if (!log_) return;
    const auto sequence = static_cast<uint32_t>(log_->count);
    HistoryReading* out = log_->add();
    if (!out) return;
    out->counter = reading.counter;
    out->ns = reading.ns;
    out->earliest_ns = reading.earliest_ns;
    out->latest_ns = reading.latest_ns;
    out->epoch = reading.epoch;
    out->index = reading.index;
    out->received = received;
    out->sent = sent;
    out->sequence = sequence;
    out->process = static_cast<uint16_t>(self_);
    out->cpu = reading.cpu;
    out->kind = reading.valid ? kind : kHistoryRefused;
    out->clock = reading.clock;
    out->format = reading.format;
    out->flags = reading.flags;
    out->status = reading.status;
    out->reason = reading.reason;
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
  RecordLog<HistoryReading>* const log_;
  uint64_t random_;
  ExchangeTally tally_;
};

}  // namespace

Order order_of(const Reading& received, const Reading& own) {
  if (received.epoch != own.epoch) return Order::kOtherEpoch;
  const int64_t allowed = received.format == own.format ? 0 : 2;
  if (backward_by(received.ns, received.flags, own.ns, own.flags) <= allowed)
    return Order::kInOrder;
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
    tally.least_step_ns =
        std::min(tally.least_step_ns, backward_by(own.ns, own.flags, received.ns, received.flags));
  }
  const int64_t size = backward_by(received.ns, received.flags, own.ns, own.flags);
  if (order == Order::kInOrder) {
    const bool ambiguous = received.flags & own.flags & CLOCKPAGE_TIME_AMBIGUOUS;
    if (ambiguous && ((received.flags ^ own.flags) & kHistorySecondTime)) tally.repeated++;
    return;
  }
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

Agreement agreement_of(const Reading& received, const Reading& again) {
  const bool same = again.ns == received.ns && again.earliest_ns == received.earliest_ns &&
                    again.latest_ns == received.latest_ns && again.counter == received.counter &&
                    again.epoch == received.epoch && again.flags == received.flags &&
                    again.status == received.status && again.reason == received.reason;
  if (!(received.flags & CLOCKPAGE_TIME_OVERDUE))
    return same ? Agreement::kSame : Agreement::kDifferent;
  // By now it is leased, with other bounds and another status: only the time is compared.
  return again.ns == received.ns && again.epoch == received.epoch ? Agreement::kOverdueKept
                                                                  : Agreement::kOverdueRevised;
}

void count_again(ExchangeTally& tally, uint64_t message, const Reading& received,
                 const Reading& again) {
  const Agreement agreement = agreement_of(received, again);
  if (agreement == Agreement::kOverdueRevised) tally.overdue_revised++;
  if (agreement == Agreement::kSame) tally.agreements++;
  if (agreement != Agreement::kDifferent) return;
  tally.disagreements++;
  if (tally.disagreement_offences < tally.disagreement.size())
    tally.disagreement[tally.disagreement_offences++] = {message, received, again};
}

uint64_t Exchange::passed() const {
  uint64_t newest = 0;
  for (unsigned i = 0; i < processes; i++)
    newest = std::max(newest, slot[i].message.load(std::memory_order_relaxed));
  return newest;
}

void run_exchange(Exchange& exchange, unsigned self, int cpu, const Page& page,
                  RecordLog<HistoryReading>* log) {
  Participant(exchange, self, cpu, page, log).run();
}

}  // namespace clockpage::tool
