// SPDX-License-Identifier: MIT
// clockpaged: publishes the host's clock. See spec/clockpage.md.
#include <clockpage/reader.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <ctime>
#include <memory>

#include "bus_error.hpp"
#include "change_reporter.hpp"
#include "host_sources.hpp"
#include "identity.hpp"
#include "keeper.hpp"
#include "options.hpp"
#include "page_source.hpp"
#include "publisher.hpp"
#include "region.hpp"
#include "say.hpp"
#include "sim_source.hpp"
#include "timens_offsets.hpp"
#include "utc_time.hpp"
#include "view_server.hpp"

namespace clockpage::producer {
namespace {

volatile std::sig_atomic_t stop_requested = 0;

void request_stop(int) { stop_requested = 1; }

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = request_stop;  // without SA_RESTART: the sleep must end
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
}

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void refuse_distrusted_counter() {
  if (const auto name = distrusted_clocksource())
    throw Failure(
        fmt::format("the kernel's clocksource is {}: it does not trust the CPU's counter", *name));
}

// clock_gettime would give this namespace's MONOTONIC, not the host's.
void refuse_time_namespace() {
  const auto own = own_timens_offsets();
  if (const auto* refusal = std::get_if<TimensRefusal>(&own))
    throw Failure("whether the bracket source follows the host's clock cannot be told: " +
                  refusal->text);
  if (std::get<TimensOffsets>(own) != TimensOffsets{})
    throw Failure(
        "/proc/self/timens_offsets: the bracket source cannot follow the host's clock from "
        "inside a time namespace");
}

struct Source {
  std::unique_ptr<TimeSource> source;
  std::unique_ptr<Counter> counter;
  std::uint64_t frequency_hz = 0;
};

Source make_host_source(const Options& options) {
  Source made;
  if (options.source != "bracket") {
    auto vvar = VvarSource::create();
    if (auto* found = std::get_if<std::unique_ptr<VvarSource>>(&vvar)) {
      made.frequency_hz = (*found)->frequency_hz();
      if (made.frequency_hz == 0)
        throw Failure("the kernel's mapping could not be read; try again");
      made.source = std::move(*found);
    } else if (options.source == "vvar") {
      throw Failure(fmt::format("--source vvar: {}", std::get<std::string>(vvar)));
    } else {
      say(options, "source vvar cannot be used: {}", std::get<std::string>(vvar));
    }
  }
  if (!made.source) {
    refuse_time_namespace();
    made.frequency_hz = measure_frequency_hz();
    made.source = std::make_unique<BracketSource>(made.frequency_hz);
  }
  made.counter = std::make_unique<HostCounter>(made.frequency_hz);
  return made;
}

std::vector<SimEvent> planned_events(const Options& options, std::uint64_t frequency_hz) {
  std::vector<SimEvent> events;
  const auto plan = [&](SimEvent::Kind kind, double at_s, double value_s) {
    if (value_s != 0)
      events.push_back({static_cast<std::uint64_t>(at_s * static_cast<double>(frequency_hz)), kind,
                        std::llround(value_s * 1e9)});
  };
  plan(SimEvent::Kind::realtime_step, options.sim_step_at_s, options.sim_step_s);
  plan(SimEvent::Kind::suspend, options.sim_suspend_at_s, options.sim_suspend_s);
  if (options.sim_leap != 0) {
    const double ticks = options.sim_leap_at_s * static_cast<double>(frequency_hz);
    events.push_back(
        {static_cast<std::uint64_t>(ticks), SimEvent::Kind::arm_leap, options.sim_leap});
  }
  std::sort(events.begin(), events.end(),
            [](const SimEvent& a, const SimEvent& b) { return a.counter < b.counter; });
  return events;
}

Source make_sim_source(const Options& options) {
  Source made;
  made.frequency_hz = measure_frequency_hz();
  made.counter = std::make_unique<HostCounter>(made.frequency_hz);
  SimKernelConfig kernel;
  kernel.frequency_hz = made.frequency_hz;
  if (options.sim_start_s) kernel.realtime_ns = *options.sim_start_s * 1'000'000'000;
  kernel.tai_offset_s = options.sim_tai_offset_s;
  SimScript::Options script;
  script.seed = options.sim_seed;
  script.max_frequency_ppb = static_cast<std::int64_t>(options.sim_max_frequency_ppb);
  script.mean_interval_s = options.sim_change_interval_s;
  script.steps_per_hour = options.sim_steps_per_hour;
  script.planned = planned_events(options, made.frequency_hz);
  made.source = std::make_unique<SimSource>(*made.counter, kernel, script);
  return made;
}

// The page's counter, or its view's, is this machine's.
Source make_page_source(const Options& options) {
  std::string reason;
  const auto place = parse_page_place(std::string_view(options.source).substr(5), &reason);
  if (!place) throw Failure("--source: " + reason);
  Source made;
  const auto open = [place = *place] { return open_page(place); };
  made.frequency_hz = open().frequency_hz();
  made.counter = std::make_unique<HostCounter>(made.frequency_hz);
  made.source = std::make_unique<PageSource>(open, *made.counter);
  return made;
}

Source make_source(const Options& options) {
  if (options.source == "sim") return make_sim_source(options);
  return options.source.starts_with("page:") ? make_page_source(options)
                                             : make_host_source(options);
}

// Whoever follows what comes of its own page would agree with itself for ever.
void refuse_to_follow_itself(TimeSource& source, const Region& region, const Options& options) {
  auto* page = dynamic_cast<PageSource*>(&source);
  if (page == nullptr) return;
  page->set_own_generation(region.directory().generation);
  if (!page->trouble().empty())
    throw Failure(fmt::format("--source {}: {}", options.source, page->trouble()));
}

void become_realtime(const Options& options) {
  prctl(PR_SET_TIMERSLACK, 1UL);
  if (options.realtime_priority == "none") return;
  const bool automatic = options.realtime_priority == "auto";
  sched_param param{};
  param.sched_priority = automatic ? 10 : std::atoi(options.realtime_priority.c_str());
  if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) != 0) {
    const int reason = errno;
    if (!automatic)
      throw Failure(fmt::format("--realtime-priority {}: {}", options.realtime_priority,
                                std::strerror(reason)));
    say(options, "no real-time priority ({}): leases will be bridged more often",
        std::strerror(reason));
  }
  // A page fault in the publish path would be lateness.
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
    say(options, "memory cannot be locked: {}", std::strerror(errno));
}

std::vector<std::byte> first_image(const Source& source, const CounterIdentity& counter,
                                   const Id& boot_id, const PublisherConfig& config) {
  Steering steering(counter.frequency_hz, counter.quantum_ticks, config.limits, config.leaps);
  // Several: a noisy source needs some to know its rate.
  for (int i = 0; i < 16; i++) {
    Observation observation;
    if (source.source->observe(observation) != ObserveResult::ok)
      throw Failure(fmt::format("source {} cannot be read{}{}", source.source->name(),
                                source.source->trouble().empty() ? "" : ": ",
                                source.source->trouble()));
    steering.observe(observation);
    source.counter->wait_until(observation.counter + counter.frequency_hz / 1000);
  }
  RegionIdentity identity{read_host_id(),     boot_id, random_u64(),
                          random_u64() >> 16, counter, std::string(source.source->name()),
                          config.leaps.smear};
  const std::uint64_t start = source.counter->read();
  const auto ticks = [&](std::uint64_t ns) {
    return static_cast<std::uint64_t>(clockpage_u128{ns} * counter.frequency_hz / 1'000'000'000);
  };
  const std::uint64_t end = start + ticks(config.period_ns + config.lead_ns);
  const std::uint32_t shift = delta_shift_for(nominal_period(counter.frequency_hz));
  const Segment first = steering.first(start, end, shift);
  return region_image(identity, ticks(config.period_ns), first, steering.first_smeared(first));
}

// The simulated kernel takes over the clock that the region has carried on with.
void continue_simulation(SimSource& sim, const clockpage_data_page& page) {
  clockpage_reader reader{};
  SimKernelConfig config = sim.config();
  // All at one counter value: a nanosecond between two of them would be taken for a suspend.
  const std::uint64_t now = clockpage_counter_ordered();
  if (clockpage_reader_init(&reader, &page, sizeof page) == 0 &&
      clockpage_at(&reader, CLOCKPAGE_REALTIME, now, &config.realtime_ns) == 0 &&
      clockpage_at(&reader, CLOCKPAGE_MONOTONIC, now, &config.monotonic_ns) == 0 &&
      clockpage_at(&reader, CLOCKPAGE_BOOTTIME, now, &config.boottime_ns) == 0 &&
      clockpage_at(&reader, CLOCKPAGE_MONOTONIC_RAW, now, &config.raw_ns) == 0) {
    // A kernel whose TAI offset is set has counted the leap seconds since.
    std::int64_t tai_ns = 0;
    if (config.tai_offset_s != 0 && clockpage_at(&reader, CLOCKPAGE_TAI, now, &tai_ns) == 0)
      config.tai_offset_s = (tai_ns - config.realtime_ns) / 1'000'000'000;
    sim.restart_at(config);
  }
}

struct OpenedRegion {
  Region region;
  bool adopted;
};

// The region by the name that messages have for it.
std::string region_name(const Options& options) {
  return options.region_fd ? fmt::format("descriptor {}", *options.region_fd)
                           : options.directory + "/region";
}

ExistingRegion inspect_region(const Options& options, const Id& boot_id,
                              const CounterIdentity& counter, const Source& source) {
  const auto name = source.source->name();
  const std::uint64_t now = source.counter->read();
  return options.region_fd ? Region::inspect_memory(*options.region_fd, boot_id, counter, name, now)
                           : Region::inspect(options.directory, boot_id, counter, name, now);
}

// A file's name can be given to a new region. Memory has no name, and its readers no way back.
void refuse_to_replace_memory(const Options& options, ExistingRegion existing) {
  if (!options.region_fd) return;
  if (existing == ExistingRegion::revoked)
    throw Failure(region_name(options) + ": was revoked: a new region needs new memory");
  Region::adopt_memory(*options.region_fd).revoke();
  throw Failure(region_name(options) +
                ": is of an earlier boot and is revoked: a new region needs new memory");
}

OpenedRegion open_region(const Options& options, Source& source, CounterIdentity& counter) {
  const Id boot_id = read_boot_id();
  const ExistingRegion existing = inspect_region(options, boot_id, counter, source);
  if (existing == ExistingRegion::adoptable) {
    Region region = options.region_fd ? Region::adopt_memory(*options.region_fd)
                                      : Region::adopt(options.directory);
    // All lines go on in the terms they were begun in.
    counter.frequency_hz = region.directory().counter_frequency_hz;
    say(options, "adopts {}", region_name(options));
    if (auto* sim = dynamic_cast<SimSource*>(source.source.get()))
      continue_simulation(*sim, *region.pages()[0]);
    return {std::move(region), true};
  }
  if (existing != ExistingRegion::none) {
    refuse_to_replace_memory(options, existing);
    say(options, "{} {} and is replaced", region_name(options),
        existing == ExistingRegion::revoked ? "was revoked" : "is of an earlier boot");
  }
  const auto image = first_image(source, counter, boot_id, options.publisher);
  return {options.region_fd ? Region::create_in_memory(*options.region_fd, image)
                            : Region::create(options.directory, image),
          false};
}

int publish_until_stopped(const Options& options, Publisher& publisher, const Region& region,
                          const TimeSource& source, Counter& counter, std::uint64_t frequency_hz,
                          ViewServer& views) {
  const std::uint64_t begin = counter.read();
  std::uint64_t looked = begin;
  const auto limit =
      static_cast<std::uint64_t>(options.for_seconds * static_cast<double>(frequency_hz));
  ChangeReporter changes(options, publisher);
  while (stop_requested == 0 && (limit == 0 || counter.read() - begin < limit)) {
    if (counter.read() - looked >= frequency_hz) {
      looked = counter.read();
      views.look();
      // Who publishes in a file that nobody can open any more publishes for nobody new.
      if (!region.has_its_name()) {
        publisher.revoke(CLOCKPAGE_REVOKED_REPLACED);
        throw Failure(
            fmt::format("{}: was removed or replaced while it was published; its pages are revoked",
                        region_name(options)));
      }
      if (!source.trouble().empty()) {
        (void)publisher.finish();
        throw Failure(fmt::format("--source {}: {}", options.source, source.trouble()));
      }
    }
    switch (publisher.step()) {
      case StepResult::second_writer:
        throw Failure(
            fmt::format("{}: another producer writes to it; stopping", region_name(options)));
      case StepResult::counter_untrusted:
        throw Failure(
            (source.trouble().empty()
                 ? "the CPU's counter can no longer be trusted (it went back, or the kernel has "
                   "left it)"
                 : source.trouble()) +
            ": the pages are revoked");
      case StepResult::steered:
        changes.report();
        break;
      case StepResult::bridged:
      case StepResult::interrupted:
        break;
    }
  }
  const bool told = publisher.finish() == StepResult::steered;
  say(options, "ends: the pages are free-running {}",
      told ? "from here on" : "once their lease is over");
  return kExitOk;
}

// A table that cannot be read is no reason not to publish: the next source of TAI takes its place.
struct LeapTableNote {
  bool defect = false;
  std::string text;  // empty: nothing to say
};
LeapTableNote read_leap_table(Options& options) {
  if (options.leap_table == "none") return {};
  const bool by_default = options.leap_table.empty();
  const std::string path = by_default ? kLeapTablePath : options.leap_table;
  if (by_default && access(path.c_str(), F_OK) != 0)
    return {false, path + ": there is no table of leap seconds"};
  auto read = clockpage::read_leap_table(path);
  if (const auto* wrong = std::get_if<std::string>(&read))
    return {true, *wrong + "; no table of leap seconds is used"};
  options.publisher.leaps.table = std::get<LeapTable>(std::move(read));
  const LeapTable& table = *options.publisher.leaps.table;
  const char* validity = table.expires_s() < std::time(nullptr) ? "expired on" : "valid until";
  return {false, fmt::format("{}: leap seconds as of {}, {} {}", path, date_text(table.updated_s()),
                             validity, date_text(table.expires_s()))};
}

void tell(const Options& options, const LeapTableNote& note) {
  if (note.defect) print_line(note.text);
  if (!note.defect && !note.text.empty()) say(options, "{}", note.text);
}

// Readers have been told which smear a page is on: it cannot be changed under them.
void check_smear(const Options& options, const Region& region) {
  const Smear smear = PageWriter(*region.pages()[1]).smear();
  if (options.smear && smear != *options.smear)
    throw Failure(
        fmt::format("{}: its smeared pages have smear {}, which --smear {} cannot change; "
                    "for another smear, remove the region while nobody publishes it",
                    region_name(options), smear_name(smear), smear_name(*options.smear)));
  const Smear& host = options.publisher.leaps.host_smear;
  if (host != kNoSmear && smear != kNoSmear && smear != host)
    throw Failure(
        fmt::format("{}: its smeared pages have smear {}, and --host-smear is {}: a smeared "
                    "clock can only be offered as it is, or undone",
                    region_name(options), smear_name(smear), smear_name(host)));
}

int publish(Options options) {
  if (const auto defect = counter_defect()) throw Failure(*defect);
  refuse_distrusted_counter();
  const ProducerLock lock(options.directory);
  const LeapTableNote leaps = read_leap_table(options);
  if (options.publisher.leaps.host_smear != kNoSmear && !options.publisher.leaps.table)
    throw Failure("--host-smear: needs a table of leap seconds" +
                  (leaps.text.empty() ? "" : ": " + leaps.text));
  Source source = make_source(options);
  CounterIdentity counter = identify_counter();
  counter.frequency_hz = source.frequency_hz;
  explain_bus_errors("clockpaged", region_name(options));
  OpenedRegion opened = open_region(options, source, counter);
  refuse_to_follow_itself(*source.source, opened.region, options);
  if (opened.adopted) check_smear(options, opened.region);
  // A child must not be able to write what it has no business to.
  madvise(&opened.region.directory(), CLOCKPAGE_REGION_SIZE, MADV_DONTFORK);
  ViewServer views(options);
  // Only now: a process that forks has one thread.
  if (auto* page = dynamic_cast<PageSource*>(source.source.get())) page->look_in_background();
  become_realtime(options);
  catch_signals();
  Publisher publisher(opened.region.pages(), *source.counter, *source.source, counter.frequency_hz,
                      counter.quantum_ticks, options.publisher, opened.adopted);
  say(options, "publishes {}; source {}: {}; counter {} kHz, quantum {}", region_name(options),
      source.source->name(), source.source->description(), counter.frequency_hz / 1000,
      counter.quantum_ticks);
  tell(options, leaps);
  return publish_until_stopped(options, publisher, opened.region, *source.source, *source.counter,
                               counter.frequency_hz, views);
}

// A guest's: nothing here is real-time, and no region is ours.
int pass_through(const Options& options) {
  const ProducerLock lock(options.directory);
  catch_signals();
  ViewServer views(options);
  say(options, "serves views of {}/region, relative to {}; publishes nothing", options.directory,
      options.parent_view);
  const auto begin = std::chrono::steady_clock::now();
  const std::chrono::duration<double> limit(options.for_seconds);
  while (stop_requested == 0 &&
         (options.for_seconds == 0 || std::chrono::steady_clock::now() - begin < limit)) {
    const timespec pause{0, 200'000'000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
    views.look();
  }
  return kExitOk;
}

template <typename Body>
int report_failure(const Body& body) {
  try {
    return body();
  } catch (const std::exception& e) {
    print_line(e.what());
    return kExitRuntime;
  }
}

int run(const Options& options) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error of write, not a death
  std::signal(SIGPIPE, SIG_IGN);  // nor is a log that nobody reads any more
  if (options.pass_through) return pass_through(options);
  if (!options.sealed) return publish(options);
  const auto begin = std::chrono::steady_clock::now();
  return keep_region(options, [&](int memory) {
    Options writer = options;
    writer.region_fd = memory;
    // --for counts from the first writer's beginning.
    const std::chrono::duration<double> before = std::chrono::steady_clock::now() - begin;
    if (writer.for_seconds > 0)
      writer.for_seconds = std::max(writer.for_seconds - before.count(), 1e-3);
    return report_failure([&] { return publish(writer); });
  });
}

}  // namespace
}  // namespace clockpage::producer

int main(int argc, char** argv) {
  using namespace clockpage::producer;
  const ParsedOptions parsed = parse_options(argc, argv);
  if (!parsed.options) return parsed.exit_code;
  return report_failure([&] { return run(*parsed.options); });
}
