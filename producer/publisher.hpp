// SPDX-License-Identifier: MIT
// The writer's side of the lease protocol: spec section 5.1.
#pragma once

#include <array>
#include <cstdint>

#include "counter.hpp"
#include "page_writer.hpp"
#include "steering.hpp"
#include "time_source.hpp"

namespace clockpage::producer {

struct PublisherConfig {
  std::uint64_t period_ns = 4'000'000;     // length of a segment
  std::uint64_t lead_ns = 4'000'000;       // least time before a lease's end to wake
  std::uint64_t max_lead_ns = 50'000'000;  // the most that lateness may make of it
  std::uint64_t margin_ns = 1'000'000;     // no steering closer to a segment's start than this
  SteeringLimits limits;
  LeapConfig leaps;  // the smear is the pages' own, whatever it says here
};

enum class StepResult {
  steered,
  bridged,
  interrupted,        // woken early; nothing was published
  second_writer,      // an index moved under us: stop at once
  counter_untrusted,  // it went back, or the source says so; the pages have been revoked
};

// Publishes one clock on four pages. One thread; no other writer.
class Publisher {
 public:
  static constexpr std::size_t kPages = CLOCKPAGE_DATA_PAGE_COUNT;

  // `pages[0]` is the unscaled, unsmeared one, `pages[1]` the unscaled, smeared one. `adopted`: it
  // goes on from what is there, and bridges first.
  Publisher(const std::array<clockpage_data_page*, kPages>& pages, Counter& counter,
            TimeSource& source, std::uint64_t frequency_hz, std::uint64_t quantum_ticks,
            const PublisherConfig& config, bool adopted);

  // Waits until the next segment is due, chooses and publishes it.
  StepResult step() noexcept;
  // The same for the last one before a clean end: free-running, at the mean frequency.
  StepResult finish() noexcept;
  // Withdraws all pages, at once and for good. `reason`: CLOCKPAGE_REVOKED_*.
  void revoke(std::uint64_t reason) noexcept;

  // What has been taken in of the source, for the caller's reports.
  [[nodiscard]] const Steering& steering() const noexcept { return steering_; }
  [[nodiscard]] Segment newest() const noexcept { return pages_[0].newest(); }
  [[nodiscard]] const clockpage_diagnostics& diagnostics() noexcept {
    return pages_[0].diagnostics();
  }
  [[nodiscard]] std::uint64_t lead_ticks() const noexcept { return lead_; }

 private:
  [[nodiscard]] std::uint64_t ticks(std::uint64_t ns) const noexcept;
  [[nodiscard]] std::uint64_t ns(std::uint64_t ticks) const noexcept;
  [[nodiscard]] bool in_time(std::uint64_t start) noexcept;
  StepResult advance(bool last) noexcept;
  [[nodiscard]] bool observe() noexcept;
  StepResult distrust_counter() noexcept;
  [[nodiscard]] bool jumped_back(std::uint64_t now) const noexcept;
  void adapt_lead(std::uint64_t lateness) noexcept;
  void fill_steered(const Plan& plan) noexcept;
  void fill_bridge() noexcept;
  [[nodiscard]] bool publish_all() noexcept;
  void finish_dead_writers_publication() noexcept;
  void count_disagreement(const PageWriter& page, const Segment& before, std::uint64_t at) noexcept;
  void count_if_late(const PageWriter& page, const Segment& before, std::uint64_t after) noexcept;
  void account(bool bridged, const Segment& before) noexcept;
  void tell_leap_table() noexcept;
  void write_diagnostics() noexcept;

  Counter& counter_;
  TimeSource& source_;
  std::uint64_t frequency_hz_;
  std::array<PageWriter, kPages> pages_;
  Steering steering_;
  std::uint64_t period_;              // ticks
  std::uint64_t margin_;              // ticks
  std::uint64_t min_lead_;            // ticks
  std::uint64_t max_lead_;            // ticks
  std::uint64_t lead_;                // ticks
  std::uint64_t worst_lateness_ = 0;  // ticks, forgotten over some seconds
  std::uint64_t last_wake_ = 0;
  std::uint64_t last_read_ = 0;  // host counter as last read; 0: not yet
  bool must_bridge_;
  clockpage_diagnostics told_{};  // what write_diagnostics writes
};

}  // namespace clockpage::producer
