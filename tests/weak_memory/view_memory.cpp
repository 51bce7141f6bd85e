// SPDX-License-Identifier: MIT
#include "view_memory.hpp"

#include <cstring>
#include <stdexcept>

namespace clockpage::weak_memory {

namespace {

struct SlotWord {
  std::size_t offset;
  unsigned size;
};

#define WORD(field) \
  SlotWord { offsetof(clockpage_view_slot, field), sizeof(clockpage_view_slot::field) }
constexpr std::array kSlotWords = {WORD(number),
                                   WORD(counter_offset),
                                   WORD(counter_ratio),
                                   WORD(counter_frac_bits),
                                   WORD(format),
                                   WORD(smear),
                                   WORD(monotonic_offset_ns),
                                   WORD(boottime_offset_ns),
                                   WORD(disruption_marker),
                                   WORD(parent_generation)};
#undef WORD

Order order_of(int order) {
  switch (order) {
    case __ATOMIC_RELAXED:
      return Order::relaxed;
    case __ATOMIC_ACQUIRE:
      return Order::acquire;
    case __ATOMIC_RELEASE:
      return Order::release;
    default:
      throw std::logic_error("an order that views do not need");
  }
}

std::uint64_t real_word(const void* address, unsigned size) {
  std::uint64_t value = 0;  // little-endian
  std::memcpy(&value, address, size);
  return value;
}

}  // namespace

ViewMemory* ViewMemory::active_ = nullptr;

ViewMemory::ViewMemory(std::vector<clockpage_view_page*> pages, ViewMutation mutation)
    : pages_(std::move(pages)),
      machine_(std::vector<std::uint64_t>{}),
      mutation_(mutation),
      published_(pages_.size()),
      last_index_(pages_.size()) {
  std::vector<std::uint64_t> initial;
  const auto add = [&](std::size_t page, const void* address, unsigned size, bool is_index,
                       bool is_number) {
    words_[address] = {initial.size(), page, is_index, is_number};
    initial.push_back(real_word(address, size));
  };
  for (std::size_t page = 0; page < pages_.size(); page++) {
    clockpage_view_page& view = *pages_[page];
    index_locations_.push_back(initial.size());
    add(page, &view.index, 8, true, false);
    for (clockpage_view_slot& slot : view.slot) {
      for (const SlotWord& word : kSlotWords)
        add(page, reinterpret_cast<const std::byte*>(&slot) + word.offset, word.size, false,
            word.offset == 0);
      if (slot.number != 0) published_[page][slot.number] = slot;
    }
  }
  machine_ = Machine(initial);
  active_ = this;
}

const ViewMemory::Word* ViewMemory::word_at(const void* address) const {
  const auto found = words_.find(address);
  return found == words_.end() ? nullptr : &found->second;
}

// ---- the writers ----------------------------------------------------------------------------

void ViewMemory::writes(std::size_t page, bool composes) {
  writing_ = page;
  if (composes && mutation_ != ViewMutation::composer_unordered)
    machine_.hand_over(writer_of(page + 1), writer_of(page));
}

bool ViewMemory::dies_here() noexcept {
  if (!mortal_) return false;
  if (stores_left_ == 0) return true;
  stores_left_--;
  return false;
}

void ViewMemory::store(void* address, unsigned size, std::uint64_t value, int order) {
  const Word* word = word_at(address);
  if (word == nullptr || word->is_index || word->page != writing_)
    throw std::logic_error("a store beside the slots");
  if (reading_) throw std::logic_error("a reader stores");
  if (dies_here()) return;
  std::memcpy(address, &value, size);
  const std::size_t writer = writer_of(word->page);
  if (word->is_number && mutation_ == ViewMutation::index_before_fill && word->page == 0) {
    machine_.update(writer, index_locations_[word->page], pages_[word->page]->index + 1,
                    Order::release);
    index_is_early_ = true;
  }
  machine_.store(writer, word->location, value, order_of(order));
}

bool ViewMemory::compare_exchange(std::uint64_t* address, std::uint64_t expected,
                                  std::uint64_t next, int success) {
  const Word* word = word_at(address);
  if (word == nullptr || !word->is_index || reading_)
    throw std::logic_error("not an index, or not a writer");
  if (*address != expected) return false;
  if (dies_here()) return true;  // nobody will know
  *address = next;
  published_[word->page][next] = pages_[word->page]->slot[next % CLOCKPAGE_VIEW_SLOT_COUNT];
  if (!index_is_early_)
    machine_.update(
        writer_of(word->page), word->location, next,
        mutation_ == ViewMutation::publish_relaxed ? Order::relaxed : order_of(success));
  index_is_early_ = false;
  return true;
}

void ViewMemory::fence(int order) {
  if (!reading_) {
    if (mutation_ != ViewMutation::fill_unfenced)
      machine_.fence(writer_of(writing_), order_of(order));
  } else if (mutation_ != ViewMutation::recheck_unfenced) {
    machine_.fence(kReader, order_of(order));
  }
}

// ---- the reader -----------------------------------------------------------------------------

void ViewMemory::end_of_recording() {
  reading_ = true;
  machine_.mark();
}

void ViewMemory::begin_exploration() {
  choices_ = {};
  visited_.clear();
}

void ViewMemory::begin_call(std::uint64_t counter, std::vector<std::uint64_t> remembered) {
  machine_.rewind();
  choices_.begin();
  counter_ = counter;
  last_index_ = std::move(remembered);
  trace_ = {};
}

// What a pass does depends on the call's arguments, which are the same in one exploration, on which
// passes were before it, and on what its loads return.
void ViewMemory::begin_pass() {
  if (choices_.repeating()) return;
  std::string key = trace_.steps + '/';
  machine_.append_key(kReader, key);
  if (!visited_.insert(std::move(key)).second) throw ViewPruned{};
}

std::uint64_t ViewMemory::load_index(const Word& word, int order) {
  const bool own = word.page == 0;
  if (acquires(order_of(order))) {
    if (own) {
      begin_pass();
      trace_.anew = true;
    }
    trace_.steps += own ? 'a' : 'p';
    const bool weak =
        mutation_ == (own ? ViewMutation::index_relaxed : ViewMutation::ancestor_relaxed);
    last_index_[word.page] =
        machine_.load(kReader, word.location, weak ? Order::relaxed : order_of(order), choices_);
    if (own) trace_.number = last_index_[0];
    return last_index_[word.page];
  }
  const bool left_out = own ? mutation_ == (trace_.anew ? ViewMutation::no_recheck_anew
                                                        : ViewMutation::no_recheck_remembered)
                            : mutation_ == ViewMutation::no_ancestor_recheck;
  if (left_out) return last_index_[word.page];
  const std::uint64_t value = machine_.load(kReader, word.location, order_of(order), choices_);
  trace_.steps += value == last_index_[word.page] ? '=' : '!';
  return value;
}

std::uint64_t ViewMemory::load(const void* address, unsigned size, int order) {
  const Word* word = word_at(address);
  if (!reading_ || word == nullptr) return real_word(address, size);  // own, or constant
  return word->is_index ? load_index(*word, order)
                        : machine_.load(kReader, word->location, order_of(order), choices_);
}

// ---- hooks ----------------------------------------------------------------------------------

std::uint64_t hooked_load(const void* address, unsigned size, int order) {
  ViewMemory* memory = ViewMemory::active();
  return memory != nullptr ? memory->load(address, size, order) : real_word(address, size);
}

void hooked_store(void* address, unsigned size, std::uint64_t value, int order) {
  if (ViewMemory* memory = ViewMemory::active(); memory != nullptr)
    memory->store(address, size, value, order);
  else
    std::memcpy(address, &value, size);
}

void hooked_fence(int order) {
  if (ViewMemory* memory = ViewMemory::active(); memory != nullptr) memory->fence(order);
}

bool hooked_compare_exchange(std::uint64_t* address, std::uint64_t expected, std::uint64_t next,
                             int success) {
  if (ViewMemory* memory = ViewMemory::active(); memory != nullptr)
    return memory->compare_exchange(address, expected, next, success);
  if (*address != expected) return false;
  *address = next;
  return true;
}

std::uint64_t hooked_counter() { return ViewMemory::active()->counter(); }
unsigned hooked_history() { return kHistory; }

}  // namespace clockpage::weak_memory
