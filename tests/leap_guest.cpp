// SPDX-License-Identifier: MIT
// The first process of a user-mode Linux guest whose kernel is to take a leap second; for
// leap_kernel_test.py. Only the guest's own clock is set: it refuses to run elsewhere.
//
// leap_guest DIR: DIR of the host holds the file `script`, and gets the answers. Lines of the
// script:
//   set S NS             CLOCK_REALTIME, s since 1970 and ns, at a tick
//   tai S                the kernel's TAI - UTC, as a time daemon sets it
//   flag none|ins|del    as a time daemon does: the clock is synchronised, a leap second announced
//   flag ins_unsync      as a daemon does that never calls the clock synchronised
//   reset                the kernel forgets the leap second that it took last
//   producer DIR COMMAND...  starts clockpaged on DIR, and waits until its pages can be read
//   signal N             to it, and waits for its end. After SIGTERM (15) its pages are forgotten
//   sample NAME SECONDS  reads the kernel's clocks, and the page's where there is one, without
//   rest;
//                        to DIR/NAME.csv
// Errors and the producer's own words go to DIR/log; DIR/done is made last.
#include <clockpage/clockpage.h>
#include <clockpage/counter.h>
#include <clockpage/reader.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr const char* kOut = "/mnt";

void require(bool good, const std::string& what) {
  if (!good) throw std::runtime_error(what + ": " + std::strerror(errno));
}

std::int64_t read_ns(clockid_t clock) {
  timespec ts{};
  clock_gettime(clock, &ts);
  return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

// ---- the kernel's clock --------------------------------------------------------------

// The ticks stay where they are: from here on they come at these ns of a second, and every 10 ms.
void set_clock_at_a_tick(std::int64_t s, long ns) {
  const timespec ts{s, ns};
  for (const std::int64_t now = read_ns(CLOCK_MONOTONIC_COARSE);
       now == read_ns(CLOCK_MONOTONIC_COARSE);) {
  }
  require(clock_settime(CLOCK_REALTIME, &ts) == 0, "clock_settime");
}

void set_tai(long offset_s) {
  timex t{};
  t.modes = ADJ_TAI;
  t.constant = offset_s;
  require(adjtimex(&t) >= 0, "adjtimex ADJ_TAI");
}

void set_flag(const std::string& flag) {
  timex t{};
  t.modes = ADJ_STATUS | ADJ_MAXERROR | ADJ_ESTERROR;
  t.maxerror = t.esterror = 1000;
  t.status = flag == "ins"          ? STA_INS
             : flag == "ins_unsync" ? STA_INS | STA_UNSYNC
             : flag == "del"        ? STA_DEL
                                    : 0;
  require(adjtimex(&t) >= 0, "adjtimex ADJ_STATUS");
}

// Leaving the phase-locked loop makes the state TIME_OK at once (kernel/time/ntp.c).
void reset() {
  for (const int status : {STA_PLL, 0}) {
    timex t{};
    t.modes = ADJ_STATUS;
    t.status = status;
    require(adjtimex(&t) >= 0, "adjtimex STA_PLL");
  }
}

// ---- the page ------------------------------------------------------------------------

struct PageClock {
  const char* name;
  bool smeared;
  int clock;
};
constexpr std::array kPageClocks = {PageClock{"tai", false, CLOCKPAGE_TAI},
                                    PageClock{"realtime", false, CLOCKPAGE_REALTIME},
                                    PageClock{"monotonic", false, CLOCKPAGE_MONOTONIC},
                                    PageClock{"smeared", true, CLOCKPAGE_REALTIME}};

struct PageTime {
  int error = 0;
  clockpage_time time{};
};

struct Page {
  std::array<clockpage_region*, 2> region{};  // unsmeared, smeared

  bool open(const std::string& directory) {
    for (std::uint8_t smear = 0; smear < 2; smear++) {
      clockpage_open_options options{};
      options.size = sizeof(options);
      options.smear = smear;
      options.directory = directory.c_str();
      clockpage_open_error error{};
      if (clockpage_open(&options, &region[smear], &error) != CLOCKPAGE_OK) return false;
    }
    return true;
  }

  std::array<PageTime, kPageClocks.size()> read(std::uint64_t counter) const {
    std::array<PageTime, kPageClocks.size()> times;
    for (std::size_t i = 0; i < times.size(); i++)
      times[i].error =
          clockpage_at_bounds(clockpage_reader_of(region[kPageClocks[i].smeared ? 1 : 0]),
                              kPageClocks[i].clock, counter, &times[i].time);
    return times;
  }

  const clockpage_data_page& data() const { return *clockpage_reader_of(region[0])->page; }
};

// ---- samples -------------------------------------------------------------------------

using PageTimes = std::array<PageTime, kPageClocks.size()>;

// In the order of reading.
struct Sample {
  std::uint64_t counter_before = 0;
  PageTimes page_before;
  std::int64_t tai = 0;
  std::int64_t realtime = 0;
  std::int64_t coarse = 0;  // CLOCK_REALTIME_COARSE: changes at ticks only
  std::int64_t monotonic = 0;
  int state = 0;  // adjtimex's result
  timex fields{};
  std::int64_t tai_after = 0;
  std::uint64_t counter_after = 0;
  PageTimes page_after;
};

// All samples are kept where leap seconds are taken, and elsewhere some.
constexpr std::int64_t kApartNs = 500'000;
constexpr std::int64_t kCloseNs = 25'000'000;

bool close_to_a_second(std::int64_t realtime) {
  const std::int64_t since = realtime % 1'000'000'000;
  return since < kCloseNs || since > 1'000'000'000 - kCloseNs;
}

Sample take(const std::optional<Page>& page) {
  Sample s;
  s.counter_before = clockpage_counter_ordered();
  if (page) s.page_before = page->read(s.counter_before);
  s.tai = read_ns(CLOCK_TAI);
  s.realtime = read_ns(CLOCK_REALTIME);
  s.coarse = read_ns(CLOCK_REALTIME_COARSE);
  s.monotonic = read_ns(CLOCK_MONOTONIC);
  s.state = adjtimex(&s.fields);
  s.tai_after = read_ns(CLOCK_TAI);
  s.counter_after = clockpage_counter_ordered();
  if (page) s.page_after = page->read(s.counter_after);
  return s;
}

void write_header(std::ostream& out, bool page) {
  out << "tai,realtime,coarse,monotonic,state,status,tai_offset,adjtimex_s,adjtimex_us,tai_after,"
         "counter_before,counter_after";
  if (page)
    for (const char* when : {"before", "after"})
      for (const PageClock& c : kPageClocks)
        for (const char* field :
             {"error", "ns", "earliest_ns", "latest_ns", "epoch", "status", "flags", "leap"})
          out << ",page_" << c.name << '_' << when << '_' << field;
  out << '\n';
}

void write(std::ostream& out, const Sample& s, bool page) {
  out << s.tai << ',' << s.realtime << ',' << s.coarse << ',' << s.monotonic << ',' << s.state
      << ',' << s.fields.status << ',' << s.fields.tai << ',' << s.fields.time.tv_sec << ','
      << s.fields.time.tv_usec << ',' << s.tai_after << ',' << s.counter_before << ','
      << s.counter_after;
  if (page)
    for (const PageTimes* times : {&s.page_before, &s.page_after})
      for (const PageTime& t : *times)
        out << ',' << t.error << ',' << t.time.ns << ',' << t.time.earliest_ns << ','
            << t.time.latest_ns << ',' << t.time.epoch << ',' << int{t.time.status} << ','
            << t.time.flags << ',' << int{t.time.leap_indicator};
  out << '\n';
}

// ---- the script ----------------------------------------------------------------------

class Guest {
 public:
  void run() {
    std::ifstream script(std::string(kOut) + "/script");
    for (std::string line; std::getline(script, line);) {
      std::istringstream words(line);
      std::string command;
      words >> command;
      if (!obey(command, words) || words.fail()) throw std::runtime_error("cannot read: " + line);
    }
  }

 private:
  bool obey(const std::string& command, std::istringstream& words) {
    std::int64_t s = 0;
    long ns = 0;
    std::string text;
    if (command == "set" && words >> s >> ns) {
      set_clock_at_a_tick(s, ns);
    } else if (command == "tai" && words >> s) {
      set_tai(s);
    } else if (command == "flag" && words >> text) {
      set_flag(text);
    } else if (command == "reset") {
      reset();
    } else if (command == "producer") {
      produce(words);
    } else if (command == "signal" && words >> s) {
      end_producer(static_cast<int>(s));
    } else if (double seconds = 0; command == "sample" && words >> text >> seconds) {
      sample(text, seconds);
    } else {
      return false;
    }
    return true;
  }

  void sample(const std::string& name, double seconds) const {
    std::vector<Sample> samples;
    const auto end = read_ns(CLOCK_MONOTONIC) + static_cast<std::int64_t>(seconds * 1e9);
    do {
      const Sample sample = take(page_);
      if (samples.empty() || close_to_a_second(sample.realtime) ||
          sample.monotonic - samples.back().monotonic > kApartNs)
        samples.push_back(sample);
    } while (samples.back().monotonic < end);
    std::ofstream out(std::string(kOut) + "/" + name + ".csv");
    write_header(out, page_.has_value());
    for (const Sample& sample : samples) write(out, sample, page_.has_value());
    require(out.flush().good(), name);
    if (page_) write_diagnostics(name);
  }

  void write_diagnostics(const std::string& name) const {
    const clockpage_diagnostics& d = page_->data().diagnostics;
    std::ofstream(std::string(kOut) + "/" + name + ".diagnostics")
        << "realtime_steps " << CLOCKPAGE_LOAD(d.realtime_steps) << "\ntai_steps "
        << CLOCKPAGE_LOAD(d.tai_steps) << "\nmonotonic_steps " << CLOCKPAGE_LOAD(d.monotonic_steps)
        << "\npublications " << CLOCKPAGE_LOAD(d.publications) << "\nbridges "
        << CLOCKPAGE_LOAD(d.bridges) << "\nlate_publications "
        << CLOCKPAGE_LOAD(d.late_publications) << "\n";
  }

  void produce(std::istringstream& words) {
    std::string directory;
    words >> directory;
    std::vector<std::string> arguments;
    for (std::string word; words >> word;) arguments.push_back(word);
    words.clear();
    arguments.insert(arguments.end(), {"--dir", directory});
    std::vector<char*> argv;
    argv.reserve(arguments.size() + 1);
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    producer_ = fork();
    require(producer_ >= 0, "fork");
    if (producer_ == 0) {
      execv(argv[0], argv.data());
      _exit(127);
    }
    const auto deadline = read_ns(CLOCK_MONOTONIC) + 20'000'000'000;
    for (page_.emplace(); !page_->open(directory);) {
      if (waitpid(producer_, nullptr, WNOHANG) != 0) throw std::runtime_error("the producer ended");
      if (read_ns(CLOCK_MONOTONIC) > deadline) throw std::runtime_error("no page in 20 s");
      usleep(10'000);
    }
  }

  void end_producer(int signal) {
    int status = 0;
    require(kill(producer_, signal) == 0, "kill");
    require(waitpid(producer_, &status, 0) == producer_, "waitpid");
    if (signal == SIGTERM) {
      page_.reset();
      std::cerr << "producer: exit code " << WEXITSTATUS(status) << std::endl;
    }
  }

  pid_t producer_ = -1;
  std::optional<Page> page_;
};

// Before anything else: on a real machine this program would set its clock and switch it off.
bool in_a_guest() {
  if (getpid() != 1 || mount("proc", "/proc", "proc", 0, nullptr) != 0) return false;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.find("User Mode Linux") != std::string::npos) return true;
  return false;
}

// No sysfs: there clockpaged would read that this kernel's clocksource is no counter, and refuse.
// Rightly so, but here it is the host's clock, which follows the counter.
void mount_all(const char* directory) {
  require(mount("tmpfs", "/run", "tmpfs", 0, nullptr) == 0, "mount /run");
  require(mount("none", kOut, "hostfs", 0, directory) == 0, "mount hostfs");
  const int log = open((std::string(kOut) + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  require(log >= 0, "log");
  dup2(log, STDERR_FILENO);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || !in_a_guest()) {
    std::cerr << "leap_guest: only as the first process of a user-mode Linux guest\n";
    return 2;
  }
  try {
    mount_all(argv[1]);
    Guest().run();
    std::ofstream(std::string(kOut) + "/done") << "done\n";
  } catch (const std::exception& error) {
    std::cerr << "leap_guest: " << error.what() << std::endl;
  }
  sync();
  reboot(RB_POWER_OFF);
  return 1;
}
