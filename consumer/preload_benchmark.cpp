// SPDX-License-Identifier: MIT
// What the C library's functions cost with libclockpage-preload.so, as ratios to what they cost
// without it, within one run: rounds that are short and shuffled, on one CPU (see
// reader_ratios.cpp). Starts the clockpaged that stands beside it. Never a test: exits 0 whatever
// it measures.
#include <clockpage/counter.h>
#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

namespace {

namespace filesystem = std::filesystem;
using ClockFunction = int (*)(clockid_t, timespec*);
using TimeFunction = time_t (*)(time_t*);

constexpr unsigned kRounds = 20001, kCalls = 200;

struct Library {
  ClockFunction gettime;
  TimeFunction time;

  explicit Library(const std::string& file) {
    void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      std::fprintf(stderr, "preload_benchmark: %s\n", dlerror());
      std::exit(1);
    }
    gettime = reinterpret_cast<ClockFunction>(dlsym(handle, "clock_gettime"));
    time = reinterpret_cast<TimeFunction>(dlsym(handle, "time"));
  }
};

// A producer on a directory of its own, for as long as this lives.
class Producer {
 public:
  explicit Producer(const filesystem::path& program) {
    char name[] = "/tmp/preload_benchmark.XXXXXX";
    if (mkdtemp(name) == nullptr) std::exit(1);
    directory_ = name;
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      execl(program.c_str(), program.c_str(), "--dir", name, static_cast<char*>(nullptr));
      _exit(127);
    }
    for (int i = 0; i < 1000 && !filesystem::exists(directory_ / "region"); i++) usleep(10000);
  }
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;
  ~Producer() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
    std::error_code ignored;
    filesystem::remove_all(directory_, ignored);
  }
  const filesystem::path& directory() const { return directory_; }

 private:
  filesystem::path directory_;
  pid_t pid_;
};

struct Candidate {
  const char* name;
  ClockFunction gettime;  // or
  clockid_t clock;
  TimeFunction time;
  const char* of;  // whose ratio it is to
  std::vector<double> ticks;
};

double ticks_of(const Candidate& candidate) {
  timespec ts;
  const std::uint64_t begin = clockpage_counter_ordered();
  if (candidate.gettime != nullptr) {
    for (unsigned i = 0; i < kCalls; i++) candidate.gettime(candidate.clock, &ts);
  } else {
    for (unsigned i = 0; i < kCalls; i++) candidate.time(nullptr);
  }
  return static_cast<double>(clockpage_counter_ordered() - begin) / kCalls;
}

double quantile(std::vector<double> values, double part) {
  const auto at =
      values.begin() + static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace

int main() {
  const filesystem::path here = filesystem::canonical("/proc/self/exe").parent_path();
  const Library kernel("libc.so.6");
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(sched_getcpu()), &cpus);
  const Producer producer(here / "clockpaged");  // before this process is pinned
  sched_setaffinity(0, sizeof cpus, &cpus);
  setenv("CLOCKPAGE_DIR", producer.directory().c_str(), 1);
  const Library page(here.parent_path() / "lib/libclockpage-preload.so");

  std::vector<Candidate> candidates = {
      {"vDSO REALTIME", kernel.gettime, CLOCK_REALTIME, nullptr, "vDSO REALTIME", {}},
      {"preload REALTIME", page.gettime, CLOCK_REALTIME, nullptr, "vDSO REALTIME", {}},
      {"preload MONOTONIC", page.gettime, CLOCK_MONOTONIC, nullptr, "vDSO REALTIME", {}},
      {"vDSO REALTIME_COARSE",
       kernel.gettime,
       CLOCK_REALTIME_COARSE,
       nullptr,
       "vDSO REALTIME_COARSE",
       {}},
      {"preload REALTIME_COARSE",
       page.gettime,
       CLOCK_REALTIME_COARSE,
       nullptr,
       "vDSO REALTIME_COARSE",
       {}},
      {"vDSO time", nullptr, 0, kernel.time, "vDSO time", {}},
      {"preload time", nullptr, 0, page.time, "vDSO time", {}},
  };
  std::mt19937_64 random(std::random_device{}());
  std::vector<Candidate*> order;
  order.reserve(candidates.size());
  for (Candidate& candidate : candidates) order.push_back(&candidate);
  for (unsigned round = 0; round < kRounds; round++) {
    std::shuffle(order.begin(), order.end(), random);
    for (Candidate* candidate : order) candidate->ticks.push_back(ticks_of(*candidate));
  }
  std::printf("%u rounds of %u calls\n%-24s %8s   ratio: %8s %8s %8s\n", kRounds, kCalls, "",
              "ticks", "median", "25 %", "75 %");
  for (const Candidate& candidate : candidates) {
    const auto base = std::find_if(
        candidates.begin(), candidates.end(),
        [&](const Candidate& other) { return std::string(other.name) == candidate.of; });
    std::vector<double> ratios;
    ratios.reserve(kRounds);
    for (unsigned round = 0; round < kRounds; round++)
      ratios.push_back(candidate.ticks[round] / base->ticks[round]);
    std::printf("%-24s %8.1f          %8.3f %8.3f %8.3f\n", candidate.name,
                quantile(candidate.ticks, 0.5), quantile(ratios, 0.5), quantile(ratios, 0.25),
                quantile(ratios, 0.75));
  }
}
