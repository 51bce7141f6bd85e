// SPDX-License-Identifier: MIT
// View pages whose words live on the machine: as page_memory.hpp, for a view and its ancestors. The
// region is constant here: what its words do under weak memory is weak_memory_test's matter.
#pragma once

#include <clockpage/abi.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "choices.hpp"
#include "machine.hpp"

namespace clockpage::weak_memory {

// One weakening of the code as it is. "Remembered": of a reading's first part, by what the reader
// remembers; "anew": of all that follows.
enum class ViewMutation : std::uint8_t {
  none,
  publish_relaxed,   // P1: an index is stored relaxed
  index_relaxed,     // P1: the view's index is loaded relaxed
  ancestor_relaxed,  // P1: an ancestor's is
  fill_unfenced,     // P2: no fence before a slot is filled
  recheck_unfenced,  // P2: no fence before the re-checks
  no_recheck_remembered,
  no_recheck_anew,
  no_ancestor_recheck,
  index_before_fill,   // the index is stored before the slot is filled
  composer_unordered,  // who composes has not acquired the parent's index
};

struct ViewPruned {};

struct ViewTrace {
  std::uint64_t number = 0;  // the view's index as the last pass has loaded it
  bool anew = false;         // there was such a pass
  // In order: 'a' the view's index is loaded with acquire, 'p' an ancestor's; '=' or '!' a re-check
  // found it the same, or not.
  std::string steps;
};

class ViewMemory {
 public:
  static constexpr std::size_t kReader = Machine::kThreads - 1;

  // pages[0] is the view, [1] its parent and so on. Thread i writes page pages.size() - 1 - i.
  // Their present contents happen before everything.
  ViewMemory(std::vector<clockpage_view_page*> pages, ViewMutation mutation);
  ~ViewMemory() { active_ = nullptr; }
  ViewMemory(const ViewMemory&) = delete;
  ViewMemory& operator=(const ViewMemory&) = delete;

  // ---- while recording
  // It is the turn of the writer of this page. Where it composes, it has read what the parent's
  // writer has published.
  void writes(std::size_t page, bool composes);
  void writer_dies_after(std::size_t stores) noexcept {
    stores_left_ = stores;
    mortal_ = true;
  }
  [[nodiscard]] bool writer_died() const noexcept { return mortal_ && stores_left_ == 0; }
  void writer_restarted() noexcept { mortal_ = false; }
  using Published = std::map<std::uint64_t, clockpage_view_slot>;
  [[nodiscard]] const Published& published(std::size_t page) const { return published_[page]; }
  // What the writer of this page did happens before what the reader does.
  void hand_over_to_reader(std::size_t page) { machine_.hand_over(writer_of(page), kReader); }

  // ---- the reader
  void end_of_recording();
  void begin_exploration();
  // `remembered`: the numbers that the reader remembers, by page.
  void begin_call(std::uint64_t counter, std::vector<std::uint64_t> remembered);
  [[nodiscard]] bool next_execution() { return choices_.advance(); }
  [[nodiscard]] const ViewTrace& trace() const noexcept { return trace_; }

  // ---- for the hooks
  std::uint64_t load(const void* address, unsigned size, int order);
  void store(void* address, unsigned size, std::uint64_t value, int order);
  void fence(int order);
  bool compare_exchange(std::uint64_t* address, std::uint64_t expected, std::uint64_t next,
                        int success);
  [[nodiscard]] std::uint64_t counter() const noexcept { return counter_; }
  static ViewMemory* active() noexcept { return active_; }

 private:
  struct Word {
    std::size_t location;
    std::size_t page;
    bool is_index;
    bool is_number;
  };
  static ViewMemory* active_;

  [[nodiscard]] std::size_t writer_of(std::size_t page) const noexcept {
    return pages_.size() - 1 - page;
  }
  [[nodiscard]] const Word* word_at(const void* address) const;
  [[nodiscard]] bool dies_here() noexcept;
  std::uint64_t load_index(const Word& word, int order);
  void begin_pass();

  std::vector<clockpage_view_page*> pages_;
  std::unordered_map<const void*, Word> words_;
  std::vector<std::size_t> index_locations_;
  Machine machine_;
  Choices choices_;
  ViewMutation mutation_;
  std::vector<Published> published_;
  std::size_t writing_ = 0;  // the page whose writer's turn it is
  std::size_t stores_left_ = 0;
  std::vector<std::uint64_t> last_index_;  // remembered, or as this pass has loaded it, by page
  std::uint64_t counter_ = 0;
  ViewTrace trace_;
  std::unordered_set<std::string> visited_;
  bool mortal_ = false;
  bool index_is_early_ = false;
  bool reading_ = false;
};

}  // namespace clockpage::weak_memory
