// SPDX-License-Identifier: MIT
//
// Fuzz target: a region file that a dead producer, or something else, has left behind. It is
// refused with one line, or adopted: then the new producer publishes on it, without undefined
// behaviour, in the time that a restart takes, and what it publishes goes on from what was there.
//
// Input: one byte of flags, then changes to a region that a simulated producer left
// (tests/fuzz_region.hpp).
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "fuzz.hpp"
#include "fuzz_region.hpp"
#include "publisher.hpp"
#include "region.hpp"
#include "sim_harness.hpp"

namespace clockpage::producer {
namespace {

constexpr std::uint64_t kHz = 2'300'000'000;
constexpr unsigned kOwnClock = 1, kSynchronised = 2, kLost = 4, kLong = 8, kOtherSource = 16,
                   kHalfPublished = 32;

// A region as it is after some time of work, and the counter then.
struct Left {
  std::vector<std::byte> bytes;
  std::uint64_t now;
};

const Left& left_behind() {
  static const Left left = [] {
    SimOptions options;
    options.script.mean_interval_s = 0.01;
    SimHarness harness(options);
    for (int i = 0; i < 40; i++) (void)harness.publisher().step();
    const std::byte* bytes = harness.region().bytes();
    return Left{{bytes, bytes + CLOCKPAGE_REGION_SIZE}, harness.counter().now()};
  }();
  return left;
}

// A virtual counter that nobody may wait on for long: a lease that is longer than the four seconds
// ahead that inspect() allows would be a producer that does nothing.
class ImpatientCounter final : public Counter {
 public:
  explicit ImpatientCounter(std::uint64_t start) : counter_(start, {}) {}
  std::uint64_t read() noexcept override { return counter_.read(); }
  void wait_until(std::uint64_t counter) noexcept override {
    CLOCKPAGE_FUZZ_CHECK(static_cast<std::int64_t>(counter - counter_.now()) <=
                         static_cast<std::int64_t>(5 * kHz));
    counter_.wait_until(counter);
  }
  void pass(std::uint64_t ticks) { counter_.wait_until(counter_.now() + ticks); }
  [[nodiscard]] std::uint64_t now() const { return counter_.now(); }

 private:
  VirtualCounter counter_;
};

class LosableSource final : public TimeSource {
 public:
  explicit LosableSource(TimeSource& source) : source_(source) {}
  ObserveResult observe(Observation& observation) noexcept override {
    return lost ? ObserveResult::lost : source_.observe(observation);
  }
  [[nodiscard]] std::string_view name() const noexcept override { return source_.name(); }
  [[nodiscard]] std::string description() const override { return source_.description(); }
  bool lost = false;

 private:
  TimeSource& source_;
};

class Directory {
 public:
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "clockpage-XXXXXX").string();
    CLOCKPAGE_FUZZ_CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
    file_ = open((path_ / "region").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CLOCKPAGE_FUZZ_CHECK(file_ >= 0);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    close(file_);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  void write(std::span<const std::byte> region) const {
    CLOCKPAGE_FUZZ_CHECK(pwrite(file_, region.data(), region.size(), 0) ==
                         static_cast<ssize_t>(region.size()));
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int file_;
};

// Whether the region may be adopted; a refusal is one line that names the file.
bool inspect(const Directory& directory, std::string_view source, std::uint64_t now) {
  const CounterIdentity counter{CLOCKPAGE_COUNTER_X86_TSC, kHz, 1, 0, 0, 48};
  try {
    return Region::inspect(directory.path(), Id{}, counter, source, now) ==
           ExistingRegion::adoptable;
  } catch (const RegionError& error) {
    const std::string_view line = error.what();
    CLOCKPAGE_FUZZ_CHECK(line.starts_with(directory.path().string()));
    for (const char c : line) CLOCKPAGE_FUZZ_CHECK(static_cast<unsigned char>(c) >= 0x20);
    return false;
  }
}

// As clockpaged does: the simulation goes on from the region's clocks.
SimKernelConfig clocks_of(const clockpage_data_page& page, std::uint64_t counter) {
  clockpage_reader reader{};
  SimKernelConfig config;
  config.frequency_hz = kHz;
  CLOCKPAGE_FUZZ_CHECK(clockpage_reader_init(&reader, &page, sizeof page) == 0);
  SimKernelConfig from = config;
  const bool readable =
      clockpage_at(&reader, CLOCKPAGE_REALTIME, counter, &from.realtime_ns) == 0 &&
      clockpage_at(&reader, CLOCKPAGE_MONOTONIC, counter, &from.monotonic_ns) == 0 &&
      clockpage_at(&reader, CLOCKPAGE_BOOTTIME, counter, &from.boottime_ns) == 0 &&
      clockpage_at(&reader, CLOCKPAGE_MONOTONIC_RAW, counter, &from.raw_ns) == 0;
  return readable ? from : config;
}

// What `after` says that it is, given `before`.
void check_continues(const Segment& before, const Segment& after) {
  CLOCKPAGE_FUZZ_CHECK(after.number == before.number + 1);
  CLOCKPAGE_FUZZ_CHECK(after.tai.start == before.lease_end);
  const bool stepped = (after.terms.flags & CLOCKPAGE_SEGMENT_DISCONTINUITY) != 0;
  CLOCKPAGE_FUZZ_CHECK(stepped || after.tai.base == before.tai.at(before.lease_end));
  CLOCKPAGE_FUZZ_CHECK(stepped || after.raw.base == before.raw.at(before.lease_end));
  CLOCKPAGE_FUZZ_CHECK(after.terms.epoch == before.terms.epoch + (stepped ? 1 : 0));
}

void read_all(const Region& region, std::uint64_t host) {
  for (const clockpage_data_page* page : region.pages()) {
    clockpage_reader reader{};
    CLOCKPAGE_FUZZ_CHECK(clockpage_reader_init(&reader, page, sizeof *page) == 0);
    const std::uint64_t counter =
        clockpage_scale_counter(host, page->scale_ratio, page->scale_frac_bits);
    for (const int clock : {0, 1, 4, 7, 11}) {
      clockpage_time time;
      if (clockpage_at_bounds(&reader, clock, counter, &time) == 0)
        CLOCKPAGE_FUZZ_CHECK(time.earliest_ns <= time.ns && time.ns <= time.latest_ns);
    }
  }
}

void publish(const Region& region, unsigned flags, std::uint64_t now) {
  ImpatientCounter counter(now);
  const SimKernelConfig config = (flags & kOwnClock) != 0 ? SimKernelConfig{.frequency_hz = kHz}
                                                          : clocks_of(*region.pages()[0], now);
  SimScript::Options quiet;
  quiet.mean_interval_s = 1e6;
  SimSource sim(counter, config, quiet);
  if ((flags & kSynchronised) != 0) sim.set_quality({true, CLOCKPAGE_REASON_NONE, 1'000'000});
  LosableSource source(sim);
  Publisher publisher(region.pages(), counter, source, kHz, 1, {}, true);
  for (int step = 0; step < 6; step++) {
    source.lost = (flags & kLost) != 0 && step % 2 == 1;
    std::array<std::optional<Segment>, 4> before;
    for (std::size_t i = 0; i < 4; i++) before[i] = PageWriter(*region.pages()[i]).newest();
    const StepResult result = step < 5 ? publisher.step() : publisher.finish();
    if (result == StepResult::counter_untrusted) {
      for (const clockpage_data_page* page : region.pages())
        CLOCKPAGE_FUZZ_CHECK(page->revoked == CLOCKPAGE_REVOKED_COUNTER);
      return;
    }
    CLOCKPAGE_FUZZ_CHECK(result != StepResult::second_writer);
    if (step < 5 && result != StepResult::interrupted)
      for (std::size_t i = 0; i < 4; i++)
        check_continues(*before[i], PageWriter(*region.pages()[i]).newest());
    read_all(region, counter.now());
  }
}

}  // namespace
}  // namespace clockpage::producer

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage::producer;
  static const Directory directory;
  namespace fuzz = clockpage::fuzz;
  fuzz::Input input(data, size);
  const auto flags = input.take<std::uint8_t>();
  std::vector<std::byte> region = left_behind().bytes;
  if ((flags & kHalfPublished) != 0)  // died between two index stores
    for (unsigned i = 4; i > 1; i--)
      reinterpret_cast<clockpage_data_page*>(&region[i * CLOCKPAGE_PAGE_SIZE])->index--;
  fuzz::patch_region(input, region, 16);
  directory.write(region);
  std::uint64_t now = left_behind().now;
  if ((flags & kLong) != 0) now += input.take<std::uint32_t>() * kHz;  // up to 136 years
  if (!inspect(directory, (flags & kOtherSource) != 0 ? "vvar" : "sim", now)) return 0;
  publish(Region::adopt(directory.path()), flags, now);
  return 0;
}
