// SPDX-License-Identifier: MIT
// A deliberately wrong producer, so that `clockpage verify` is known to bite: segments are
// published with a start in the future and no lease (lease_end far away), as an earlier draft of
// the design had it, and the writer is now and then stopped between choosing a segment and storing
// its index. Readers meanwhile use the old line past the new one's start.
//
// wrong_protocol DIR SECONDS STALL_US: makes DIR/region and publishes until the time is over.
// STALL_US 0: not stopped on purpose; a busy machine stops it all the same.
#include <clockpage/counter.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "identity.hpp"
#include "page_writer.hpp"
#include "region.hpp"

namespace {

using namespace clockpage::producer;

constexpr std::uint64_t kHz = 2'000'000'000;   // of a clock that is nobody's time
constexpr std::uint64_t kFuture = kHz / 1000;  // starts lie 1 ms ahead
constexpr std::uint64_t kNever = std::uint64_t{1} << 60;

Segment first_segment(std::uint64_t start) {
  Segment segment;
  const auto period = static_cast<std::uint64_t>(nominal_period(kHz));
  segment.tai = segment.raw = {start, make_instant(1'700'000'000'000'000'000), period, 0};
  segment.lease_end = start + kNever;
  segment.terms.local_bound_ns = 1;
  segment.terms.epoch = 1;
  segment.terms.reason = CLOCKPAGE_REASON_SIMULATED;
  return segment;
}

// The line from `start` on, with a slope up to 500 ppm off.
Segment steered_from(const Segment& before, std::uint64_t start, double ppm,
                     const PageWriter& page) {
  Segment next = before;
  const double nominal = 1e9 / static_cast<double>(kHz) * 0x1p64 *
                         static_cast<double>(std::uint64_t{1} << page.scale().frac_bits) /
                         static_cast<double>(page.scale().ratio) /
                         static_cast<double>(1U << page.shift());
  for (Line* line : {&next.tai, &next.raw}) {
    line->base = line->at(start);
    line->start = start;
  }
  next.tai.period_frac = static_cast<std::uint64_t>(nominal * (1 + ppm * 1e-6));
  next.lease_end = start + kNever;
  return next;
}

int publish(const std::filesystem::path& directory, double seconds, long stall_us) {
  const ProducerLock lock(directory);
  RegionIdentity identity{read_host_id(), read_boot_id(), random_u64(), random_u64() >> 16,
                          identify_counter()};
  identity.counter.frequency_hz = kHz;
  const Region region = Region::create(
      directory, region_image(identity, kHz, first_segment(clockpage_counter_ordered())));
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> ppm(-500, 500);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (int round = 0; std::chrono::steady_clock::now() < end; round++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const double slope = ppm(random);
    const std::uint64_t start = clockpage_counter_ordered() + kFuture;
    // Chosen; and now the writer loses its CPU.
    if (stall_us > 0 && round % 10 == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(stall_us));
    for (clockpage_data_page* p : region.pages()) {
      PageWriter page(*p);
      page.fill_next(steered_from(page.newest(), page.scale().apply(start), slope, page));
      if (!page.publish()) return 1;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: wrong_protocol DIR SECONDS STALL_US\n", stderr);
    return 2;
  }
  try {
    return publish(argv[1], std::atof(argv[2]), std::atol(argv[3]));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "wrong_protocol: %s\n", e.what());
    return 1;
  }
}
