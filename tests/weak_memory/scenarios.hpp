// SPDX-License-Identifier: MIT
// Short scripts of the writer and what readers do meanwhile, each explored to the end. The writer
// is the real Publisher on a simulated kernel; what it stores to one page before record() happens
// before everything.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "explorer.hpp"
#include "publisher_fixture.hpp"

namespace clockpage::weak_memory {

class Script {
 public:
  // `page`: 0 to 3. The ring is full, and nothing is recorded yet. `steps`: as for publish().
  Script(std::size_t page, Mutation mutation, bool steps = false);

  // Each segment differs from its neighbours in slope, status and bounds; with `steps` also in
  // epoch and offsets, each being a discontinuity.
  void publish(int segments, bool steps = false);
  // A new region instead, in which nothing has been published yet.
  void make_region_anew();
  void record();
  void revoke();
  // A steered segment is filled, found too late and filled again as a bridge.
  void publish_after_refill();
  // Publishes until the writer dies, then as another that has adopted the region.
  // False if it had still more to live.
  bool die_and_restart(std::size_t after_stores);
  // Explores; no more recording.
  Exploration explore(const std::vector<Call>& calls);

  PageMemory& memory() { return *memory_; }
  [[nodiscard]] std::uint64_t newest() const { return page().index; }
  [[nodiscard]] clockpage_segment segment(std::uint64_t number) const {
    return memory_->published().at(number);
  }
  // The counter values at which something changes: just before and at both ends of these segments.
  [[nodiscard]] std::vector<std::uint64_t> corners(std::uint64_t from, std::uint64_t to) const;

 private:
  [[nodiscard]] const clockpage_data_page& page() const { return *sim_.region().page(page_); }
  void stir(bool step);

  std::size_t page_;
  Mutation mutation_;
  mutable producer::SimHarness sim_;
  producer::StallingCounter counter_;
  producer::TamperedSource source_;
  std::unique_ptr<PageMemory> memory_;
  bool reading_ = false;
  int stirred_ = 0;
};

struct Scenario {
  const char* name;
  std::function<Exploration(Mutation)> explore;
};

// All of them.
const std::vector<Scenario>& scenarios();
const Scenario& scenario(const std::string& name);

}  // namespace clockpage::weak_memory
