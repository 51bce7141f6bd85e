// SPDX-License-Identifier: MIT
//
// What one update of the pages costs the producer with 1, 100 and 10,000 views on the host, in one
// run: all three at once, in turns, every view mapped and read by another process meanwhile.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <ctime>
#include <memory>
#include <random>

#include "view_cost_fixture.hpp"

namespace clockpage::producer {
namespace {

constexpr std::array<std::size_t, 4> kViews = {0, 1, 100, 10'000};
constexpr std::size_t kBase = 1;  // what the others are compared with: one view
constexpr int kRounds = 6'000;
constexpr int kUpdates = 64;  // in one turn
constexpr std::size_t kBlocks = 10;

using Hosts = std::vector<std::unique_ptr<PublisherWithViews>>;

// Maps everything and goes through it as readers do: a view's index and slot, its data page's
// index.
[[noreturn]] void read_for_ever(const Hosts& hosts) {
  std::vector<const volatile std::uint64_t*> regions;
  std::vector<std::vector<const volatile std::uint64_t*>> views;
  for (const auto& host : hosts) {
    regions.push_back(mapped_words(host->region_file(), CLOCKPAGE_REGION_SIZE));
    views.emplace_back();
    for (const auto& file : host->view_files())
      views.back().push_back(mapped_words(file, sizeof(clockpage_view_page)));
  }
  constexpr std::size_t index = offsetof(clockpage_view_page, index) / 8;
  constexpr std::size_t data_index =
      (CLOCKPAGE_PAGE_SIZE + offsetof(clockpage_data_page, index)) / 8;
  const timespec pause{0, 1'000'000};
  for (std::uint64_t sum = 0;; nanosleep(&pause, nullptr)) {
    for (std::size_t i = 0; i < hosts.size(); i++)
      for (std::size_t read = 0; read < 500 && !views[i].empty(); read++)
        sum += views[i][(sum + read) % views[i].size()][index] + regions[i][data_index];
  }
}

pid_t start_reader(const Hosts& hosts) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  try {
    read_for_ever(hosts);
  } catch (const std::exception& e) {
    fmt::print(stderr, "view_cost_benchmark: {}\n", e.what());
  }
  _exit(1);
}

double turn_ns(Publisher& publisher) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kUpdates; i++)
    if (publisher.step() != StepResult::steered) throw std::runtime_error("not steered");
  const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - begin;
  return time.count() / kUpdates;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The lowest and the highest ratio of medians in one of kBlocks parts of the run.
std::pair<double, double> range_of_ratios(const std::vector<double>& a,
                                          const std::vector<double>& base) {
  std::pair<double, double> range{1e9, 0};
  const auto part = static_cast<std::ptrdiff_t>(a.size() / kBlocks);
  for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(kBlocks); i++) {
    const double ratio = median({a.begin() + i * part, a.begin() + (i + 1) * part}) /
                         median({base.begin() + i * part, base.begin() + (i + 1) * part});
    range = {std::min(range.first, ratio), std::max(range.second, ratio)};
  }
  return range;
}

std::size_t bytes_of_an_update(PublisherWithViews& host) {
  const std::string before = host.region_bytes();
  if (host.publisher().step() != StepResult::steered) throw std::runtime_error("not steered");
  return bytes_changed(before, host.region_bytes());
}

int run() {
  Hosts hosts;
  for (const std::size_t views : kViews)
    hosts.push_back(std::make_unique<PublisherWithViews>(views));
  const pid_t reader = start_reader(hosts);
  std::array<std::vector<double>, kViews.size()> times;
  std::array<std::size_t, kViews.size()> order = {0, 1, 2, 3};
  std::mt19937_64 random(1);
  for (int round = 0; round < kRounds; round++) {
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t i : order) times[i].push_back(turn_ns(hosts[i]->publisher()));
  }
  const bool read = waitpid(reader, nullptr, WNOHANG) == 0;
  kill(reader, SIGKILL);
  waitpid(reader, nullptr, 0);
  if (!read) throw std::runtime_error("the reader has ended");
  fmt::print("one update of four pages; {} turns of {} each, shuffled; medians\n", kRounds,
             kUpdates);
  fmt::print("{:>7} {:>9} {:>9}  {:<17} {:>14}\n", "views", "ns", "ratio", "(in tenths of run)",
             "bytes changed");
  for (std::size_t i = 0; i < kViews.size(); i++) {
    const auto [low, high] = range_of_ratios(times[i], times[kBase]);
    fmt::print("{:>7} {:>9.1f} {:>9.4f}  ({:.3f} to {:.3f})    {:>14}\n", kViews[i],
               median(times[i]), median(times[i]) / median(times[kBase]), low, high,
               bytes_of_an_update(*hosts[i]));
  }
  return 0;
}

}  // namespace
}  // namespace clockpage::producer

int main() {
  try {
    return clockpage::producer::run();
  } catch (const std::exception& e) {
    fmt::print(stderr, "view_cost_benchmark: {}\n", e.what());
    return 1;
  }
}
