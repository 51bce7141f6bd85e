// SPDX-License-Identifier: MIT
// One data page whose words live on the machine: the writer's stores to it are recorded as they are
// made, then readers run on what was recorded, each load taking any store that it may.
#pragma once

#include <clockpage/abi.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "choices.hpp"
#include "machine.hpp"

namespace clockpage::weak_memory {

// One weakening of the code as it is. "First": of a call's first pass; "again": of the later ones,
// which are other code.
enum class Mutation : std::uint8_t {
  none,
  publish_relaxed,         // P1: the index is stored relaxed
  index_relaxed_first,     // P1: the index is loaded relaxed
  index_relaxed_again,     //
  fill_unfenced,           // P2: no fence before a slot is filled
  recheck_unfenced_first,  // P2: no fence before the re-check
  recheck_unfenced_again,  //
  no_recheck_first,        // the re-check always finds the index unchanged
  no_recheck_again,        //
  index_before_fill,       // the index is stored before the slot is filled
  history_of_15,           // a reader goes back one step further
  not_handed_over,         // one reader does not happen before the next
};

// A reader's run has come to where another one was already: all that can follow is known.
struct Pruned {};

// What a call of the reader did, beside its result.
struct Trace {
  std::vector<bool> changed;  // per pass: the re-check was reached and found another index
  std::uint64_t index = 0;    // what the last pass went by
  std::uint64_t revoked = 0;  // as last loaded
  std::vector<std::uint64_t> counters;  // as read
};

class PageMemory {
 public:
  static constexpr std::size_t kWriter = 0;

  // From now on until it is destroyed, hooked code runs on it: first as the writer. One at a time.
  // The page's present contents happen before everything.
  PageMemory(clockpage_data_page& page, Mutation mutation);
  ~PageMemory();
  PageMemory(const PageMemory&) = delete;
  PageMemory& operator=(const PageMemory&) = delete;

  // ---- while recording ----
  // After this many stores to any page's index, revoked or slots the writer is dead: it stores
  // nothing more.
  void writer_dies_after(std::size_t stores) noexcept {
    stores_left_ = stores;
    mortal_ = true;
  }
  [[nodiscard]] bool writer_died() const noexcept { return mortal_ && stores_left_ == 0; }
  // Another writer has taken over. (The lock that it holds now was let go by the kernel when the
  // first had died: all that one did happens before all that this one does, so to the model they
  // are one thread.)
  void writer_restarted() noexcept { mortal_ = false; }
  // How often the page's slots were begun to be filled.
  [[nodiscard]] unsigned fills() const noexcept { return fills_; }
  // Every segment that was ever published, from those there at first, by number.
  [[nodiscard]] const std::map<std::uint64_t, clockpage_segment>& published() const noexcept {
    return published_;
  }
  [[nodiscard]] bool ever_revoked() const noexcept { return ever_revoked_; }

  // ---- readers ----
  void end_of_recording();
  // Before the first execution of each exploration, and before each.
  void begin_exploration();
  void begin_execution();
  // To the next execution; false after the last.
  [[nodiscard]] bool next_execution() { return choices_.advance(); }
  // Hooked code is `thread`'s from here on, in a new call. `counters`: what the counter may read,
  // in ascending order: each in turn if `ticking`, else any that does not go back. `context`: all
  // that the judgement of the rest of this execution depends on. `results`: memory in which the
  // call leaves results before it ends.
  void begin_call(std::size_t thread, std::span<const std::uint64_t> counters, bool ticking,
                  std::string context, std::span<const std::int64_t> results);
  [[nodiscard]] const Trace& trace() const noexcept { return trace_; }
  void hand_over(std::size_t from, std::size_t to) {
    if (mutation_ != Mutation::not_handed_over) machine_.hand_over(from, to);
  }
  [[nodiscard]] const clockpage_data_page& page() const noexcept { return page_; }

  // ---- for the hooks ----
  std::uint64_t load(const void* address, unsigned size, int order);
  void store(void* address, unsigned size, std::uint64_t value, int order);
  void fence(int order);
  bool compare_exchange(std::uint64_t* address, std::uint64_t expected, std::uint64_t next,
                        int success);
  std::uint64_t counter();
  [[nodiscard]] unsigned history() const noexcept;
  static PageMemory* active() noexcept { return active_; }

 private:
  static constexpr std::size_t kNowhere = ~std::size_t{0};
  static PageMemory* active_;

  [[nodiscard]] std::size_t location_of(const void* address, unsigned size) const;
  void add_location(std::size_t offset, unsigned size);
  [[nodiscard]] bool dies_here(const void* address) noexcept;
  [[nodiscard]] bool first_pass() const noexcept { return trace_.changed.size() <= 1; }
  [[nodiscard]] bool mutated(Mutation first, Mutation again) const noexcept {
    return mutation_ == (first_pass() ? first : again);
  }
  void begin_pass();

  clockpage_data_page& page_;
  std::vector<std::size_t> location_at_;  // by offset in the page
  std::vector<unsigned> size_of_;         // of each location's word
  std::vector<std::uint64_t> initial_values_;
  Machine machine_;
  Choices choices_;

  std::size_t stores_left_ = 0;
  std::map<std::uint64_t, clockpage_segment> published_;

  std::size_t thread_ = kWriter;
  std::span<const std::uint64_t> counters_;
  std::span<const std::int64_t> results_;
  std::size_t next_counter_ = 0;
  std::string context_;
  Trace trace_;
  std::unordered_set<std::string> visited_;

  unsigned fills_ = 0;
  Mutation mutation_;
  bool mortal_ = false;
  bool index_is_early_ = false;
  bool ever_revoked_ = false;
  bool reading_ = false;
  bool ticking_ = false;
};

}  // namespace clockpage::weak_memory
