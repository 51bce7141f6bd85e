// SPDX-License-Identifier: MIT
#include "page_memory.hpp"

#include <cstring>
#include <stdexcept>

namespace clockpage::weak_memory {

namespace {

constexpr std::size_t kIndex = 0, kRevoked = 1;  // locations

struct Word {
  std::size_t offset;
  unsigned size;
};

// The words of a segment that are ever stored.
#define WORD(field) \
  Word { offsetof(clockpage_segment, field), sizeof(clockpage_segment::field) }
constexpr std::array kSegmentWords = {WORD(number),
                                      WORD(start),
                                      WORD(lease_end),
                                      WORD(tai_ns),
                                      WORD(tai_frac),
                                      WORD(tai_period_frac),
                                      WORD(utc_offset_ns),
                                      WORD(leap_start_ns),
                                      WORD(monotonic_offset_ns),
                                      WORD(boottime_offset_ns),
                                      WORD(raw_ns),
                                      WORD(raw_frac),
                                      WORD(raw_period_frac),
                                      WORD(utc_bound_ns),
                                      WORD(utc_bound_growth_frac),
                                      WORD(local_bound_ns),
                                      WORD(local_bound_growth_frac),
                                      WORD(epoch),
                                      WORD(flags),
                                      WORD(status),
                                      WORD(reason),
                                      WORD(leap_indicator),
                                      WORD(leap_end_ns),
                                      WORD(utc_offset_after_ns),
                                      WORD(leap_slope_frac)};
#undef WORD

Order order_of(int order) {
  switch (order) {
    case __ATOMIC_RELAXED:
      return Order::relaxed;
    case __ATOMIC_ACQUIRE:
      return Order::acquire;
    case __ATOMIC_RELEASE:
      return Order::release;
    case __ATOMIC_ACQ_REL:
      return Order::acquire_release;
    default:
      throw std::logic_error("an order that the machine does not know");
  }
}

std::uint64_t real_word(const void* address, unsigned size) {
  std::uint64_t value = 0;  // little-endian
  std::memcpy(&value, address, size);
  return value;
}

}  // namespace

PageMemory* PageMemory::active_ = nullptr;

PageMemory::PageMemory(clockpage_data_page& page, Mutation mutation)
    : page_(page),
      location_at_(sizeof page, kNowhere),
      machine_(std::vector<std::uint64_t>{}),
      mutation_(mutation) {
  add_location(offsetof(clockpage_data_page, index), 8);
  add_location(offsetof(clockpage_data_page, revoked), 8);
  for (std::size_t i = 0; i < CLOCKPAGE_SEGMENT_COUNT; i++)
    for (const Word& word : kSegmentWords)
      add_location(
          offsetof(clockpage_data_page, segment) + i * sizeof(clockpage_segment) + word.offset,
          word.size);
  machine_ = Machine(initial_values_);
  for (std::uint64_t number = page.index - CLOCKPAGE_SEGMENT_COUNT + 1; number <= page.index;
       number++) {
    const clockpage_segment& segment = page.segment[number % CLOCKPAGE_SEGMENT_COUNT];
    if (segment.number == number) published_[number] = segment;
  }
  active_ = this;
}

PageMemory::~PageMemory() { active_ = nullptr; }

void PageMemory::add_location(std::size_t offset, unsigned size) {
  location_at_[offset] = size_of_.size();
  size_of_.push_back(size);
  initial_values_.push_back(real_word(reinterpret_cast<const std::byte*>(&page_) + offset, size));
}

std::size_t PageMemory::location_of(const void* address, unsigned size) const {
  const auto offset = static_cast<std::size_t>(reinterpret_cast<std::uintptr_t>(address) -
                                               reinterpret_cast<std::uintptr_t>(&page_));
  if (offset >= location_at_.size() || location_at_[offset] == kNowhere) return kNowhere;
  if (size_of_[location_at_[offset]] != size) throw std::logic_error("a word in two sizes");
  return location_at_[offset];
}

// ---- the writer -----------------------------------------------------------------------------

// All pages are aligned, and alike. Diagnostics do not count.
bool PageMemory::dies_here(const void* address) noexcept {
  if (!mortal_) return false;
  if (stores_left_ == 0) return true;
  const std::size_t offset = reinterpret_cast<std::uintptr_t>(address) % CLOCKPAGE_PAGE_SIZE;
  const bool counts = offset == offsetof(clockpage_data_page, index) ||
                      offset == offsetof(clockpage_data_page, revoked) ||
                      offset >= offsetof(clockpage_data_page, segment);
  if (counts) stores_left_--;
  return false;
}

void PageMemory::store(void* address, unsigned size, std::uint64_t value, int order) {
  if (reading_) throw std::logic_error("a reader stores");
  if (dies_here(address)) return;
  std::memcpy(address, &value, size);
  const std::size_t location = location_of(address, size);
  if (location == kNowhere) return;
  if (location == kRevoked && value != 0) ever_revoked_ = true;
  if (location > kRevoked && (location - 2) % kSegmentWords.size() == 0) {  // number: it begins
    fills_++;
    if (mutation_ == Mutation::index_before_fill && !index_is_early_) {
      machine_.update(kWriter, kIndex, page_.index + 1, Order::release);
      index_is_early_ = true;
    }
  }
  machine_.store(kWriter, location, value, order_of(order));
}

bool PageMemory::compare_exchange(std::uint64_t* address, std::uint64_t expected,
                                  std::uint64_t next, int success) {
  if (reading_) throw std::logic_error("a reader stores");
  if (*address != expected) return false;
  if (dies_here(address)) return true;  // nobody will know
  *address = next;
  if (location_of(address, sizeof *address) == kNowhere) return true;
  published_[next] = page_.segment[next % CLOCKPAGE_SEGMENT_COUNT];
  if (!index_is_early_)
    machine_.update(kWriter, kIndex, next,
                    mutation_ == Mutation::publish_relaxed ? Order::relaxed : order_of(success));
  index_is_early_ = false;
  return true;
}

void PageMemory::fence(int order) {
  if (!reading_) {
    if (mutation_ != Mutation::fill_unfenced) machine_.fence(kWriter, order_of(order));
  } else if (!mutated(Mutation::recheck_unfenced_first, Mutation::recheck_unfenced_again)) {
    machine_.fence(thread_, order_of(order));
  }
}

// ---- readers --------------------------------------------------------------------------------

void PageMemory::end_of_recording() {
  reading_ = true;
  machine_.mark();
}

void PageMemory::begin_exploration() {
  choices_ = {};
  visited_.clear();
}

void PageMemory::begin_execution() {
  machine_.rewind();
  choices_.begin();
}

void PageMemory::begin_call(std::size_t thread, std::span<const std::uint64_t> counters,
                            bool ticking, std::string context,
                            std::span<const std::int64_t> results) {
  ticking_ = ticking;
  thread_ = thread;
  counters_ = counters;
  results_ = results;
  next_counter_ = 0;
  context_ = std::move(context);
  trace_ = {};
}

// What a pass does depends on the call's arguments (in the context), on which pass it is, on the
// counter read last and on what its loads return; what is judged later also on results already
// left.
void PageMemory::begin_pass() {
  if (choices_.repeating()) return;
  std::string key = context_;
  key.push_back(static_cast<char>(trace_.changed.size()));
  key.push_back(static_cast<char>(trace_.counters.size()));
  for (const bool changed : trace_.changed) key.push_back(static_cast<char>(changed));
  if (!trace_.counters.empty())
    key.append(reinterpret_cast<const char*>(&trace_.counters.back()), 8);
  key.append(reinterpret_cast<const char*>(results_.data()), results_.size_bytes());
  machine_.append_key(thread_, key);
  if (!visited_.insert(std::move(key)).second) throw Pruned{};
}

std::uint64_t PageMemory::load(const void* address, unsigned size, int order) {
  const std::size_t location = location_of(address, size);
  if (!reading_ || location == kNowhere) return real_word(address, size);  // own, or constant
  if (location != kIndex) {
    const std::uint64_t value = machine_.load(thread_, location, order_of(order), choices_);
    if (location == kRevoked) trace_.revoked = value;
    return value;
  }
  if (acquires(order_of(order))) {
    begin_pass();
    trace_.changed.push_back(false);
    const bool weak = mutated(Mutation::index_relaxed_first, Mutation::index_relaxed_again);
    trace_.index =
        machine_.load(thread_, location, weak ? Order::relaxed : order_of(order), choices_);
    return trace_.index;
  }
  if (trace_.changed.empty()) throw std::logic_error("the index is loaded first without acquire");
  if (mutated(Mutation::no_recheck_first, Mutation::no_recheck_again)) return trace_.index;
  const std::uint64_t value = machine_.load(thread_, location, order_of(order), choices_);
  trace_.changed.back() = value != trace_.index;
  return value;
}

std::uint64_t PageMemory::counter() {
  if (ticking_) {
    if (trace_.counters.size() == counters_.size())
      throw std::logic_error("too few counter values");
    next_counter_ = trace_.counters.size();
  } else {
    next_counter_ += choices_.choose(static_cast<std::uint32_t>(counters_.size() - next_counter_));
  }
  trace_.counters.push_back(counters_[next_counter_]);
  return trace_.counters.back();
}

unsigned PageMemory::history() const noexcept {
  return mutation_ == Mutation::history_of_15 ? 15 : 14;
}

// ---- hooks ----------------------------------------------------------------------------------

std::uint64_t hooked_load(const void* address, unsigned size, int order) {
  PageMemory* memory = PageMemory::active();
  return memory != nullptr ? memory->load(address, size, order) : real_word(address, size);
}

void hooked_store(void* address, unsigned size, std::uint64_t value, int order) {
  if (PageMemory* memory = PageMemory::active(); memory != nullptr)
    memory->store(address, size, value, order);
  else
    std::memcpy(address, &value, size);
}

void hooked_fence(int order) {
  if (PageMemory* memory = PageMemory::active(); memory != nullptr) memory->fence(order);
}

bool hooked_compare_exchange(std::uint64_t* address, std::uint64_t expected, std::uint64_t next,
                             int success) {
  if (PageMemory* memory = PageMemory::active(); memory != nullptr)
    return memory->compare_exchange(address, expected, next, success);
  if (*address != expected) return false;
  *address = next;
  return true;
}

std::uint64_t hooked_counter() { return PageMemory::active()->counter(); }
unsigned hooked_history() { return PageMemory::active()->history(); }

}  // namespace clockpage::weak_memory
