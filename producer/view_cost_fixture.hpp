// SPDX-License-Identifier: MIT
//
// For a test and a benchmark: a publisher whose region has many views in its directory, all of them
// mapped by somebody. Its counter and its clock are simulated, so that it goes the same way every
// time.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "publisher.hpp"
#include "region.hpp"
#include "sim_harness.hpp"
#include "steering.hpp"
#include "view_page.hpp"

namespace clockpage::producer {

// A straight line; nothing to read.
class StraightSource final : public TimeSource {
 public:
  static constexpr std::uint64_t kHz = 2'300'000'000;
  static constexpr std::uint64_t kStart = 1'000'000'000'000;

  explicit StraightSource(Counter& counter) : counter_(counter) {}
  ObserveResult observe(Observation& o) noexcept override {
    o.counter = counter_.read();
    const auto ticks = static_cast<std::int64_t>(o.counter - kStart);
    o.monotonic = o.raw =
        make_instant(1'000'000'000) + static_cast<Instant>(span(nominal_period(kHz), ticks));
    o.period = o.raw_period = nominal_period(kHz);
    o.realtime_minus_monotonic_ns = 1'700'000'000'000'000'000;
    o.quality = {true, CLOCKPAGE_REASON_NONE, 1'000'000};
    return ObserveResult::ok;
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "straight"; }
  [[nodiscard]] std::string description() const override { return {}; }

 private:
  Counter& counter_;
};

class PublisherWithViews {
 public:
  explicit PublisherWithViews(std::size_t views)
      : directory_(make_directory()),
        counter_(StraightSource::kStart, {}),
        source_(counter_),
        region_(Region::create(directory_, first_image())),
        publisher_(region_.pages(), counter_, source_, StraightSource::kHz, 1, {}, false) {
    for (std::size_t i = 0; i < views; i++) {
      ViewState state;
      state.counter_offset = static_cast<std::int64_t>(i);
      ViewFile::create(directory_, fmt::format("guest{:05}", i),
                       view_image({7}, region_.directory().generation, 1000 + i, 1, state), 0644);
    }
  }
  ~PublisherWithViews() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  PublisherWithViews(const PublisherWithViews&) = delete;
  PublisherWithViews& operator=(const PublisherWithViews&) = delete;

  Publisher& publisher() { return publisher_; }
  [[nodiscard]] std::string region_bytes() const {
    return {reinterpret_cast<const char*>(&region_.directory()), CLOCKPAGE_REGION_SIZE};
  }
  [[nodiscard]] std::vector<std::filesystem::path> view_files() const {
    std::vector<std::filesystem::path> files;
    if (std::filesystem::exists(directory_ / "views"))
      for (const auto& entry : std::filesystem::directory_iterator(directory_ / "views"))
        files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
  }
  [[nodiscard]] std::filesystem::path region_file() const { return directory_ / "region"; }

 private:
  // Where regions are to be: in memory.
  static std::filesystem::path make_directory() {
    const char* base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    std::string name = std::string(base) + "/clockpage-views.XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    return name;
  }
  std::vector<std::byte> first_image() {
    Observation o;
    source_.observe(o);
    Steering steering(StraightSource::kHz, 1, {});
    steering.observe(o);
    RegionIdentity identity;
    identity.counter = {kThisCounterKind, StraightSource::kHz, 1, 0, 0, 48};
    identity.generation = 77;
    return region_image(identity, StraightSource::kHz / 250,
                        steering.first(o.counter, o.counter + StraightSource::kHz / 100,
                                       delta_shift_for(o.period)));
  }

  std::filesystem::path directory_;
  VirtualCounter counter_;
  StraightSource source_;
  Region region_;
  Publisher publisher_;
};

// A file as a reader has it: mapped, for reading alone. Lives as long as the process.
inline const volatile std::uint64_t* mapped_words(const std::filesystem::path& path,
                                                  std::size_t size) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* bytes = fd < 0 ? MAP_FAILED : mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (bytes == MAP_FAILED) throw std::runtime_error(path.string() + ": cannot be mapped");
  close(fd);
  return static_cast<const volatile std::uint64_t*>(bytes);
}

// Bytes that are not the same in two images.
inline std::size_t bytes_changed(const std::string& before, const std::string& after) {
  std::size_t changed = 0;
  for (std::size_t i = 0; i < before.size(); i++) changed += before[i] != after[i] ? 1 : 0;
  return changed;
}

}  // namespace clockpage::producer
