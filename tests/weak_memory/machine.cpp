// SPDX-License-Identifier: MIT
#include "machine.hpp"

namespace clockpage::weak_memory {

namespace {

void append_number(std::string& key, std::uint32_t number) {
  key.append(reinterpret_cast<const char*>(&number), sizeof number);
}

}  // namespace

void Machine::View::join(const View& other) {
  for (std::size_t i = 0; i < kThreads; i++) stores[i] = std::max(stores[i], other.stores[i]);
  if (other.seen.empty()) return;
  seen.resize(other.seen.size());
  for (std::size_t i = 0; i < seen.size(); i++) seen[i] = std::max(seen[i], other.seen[i]);
}

Machine::Machine(std::vector<std::uint64_t> initial_values) : locations_(initial_values.size()) {
  for (std::size_t i = 0; i < initial_values.size(); i++)
    locations_[i].push_back({initial_values[i], 0, 0, {}});
}

void Machine::append(std::size_t thread, std::size_t location, std::uint64_t value, Order order,
                     const View& inherited) {
  Thread& self = threads_[thread];
  self.stores++;
  self.now.stores[thread] = self.stores;  // a load of its own reads this or a later one
  self.changed = true;
  Store store{value, thread, self.stores, releases(order) ? self.now : self.released};
  store.released.join(inherited);
  locations_[location].push_back(std::move(store));
}

void Machine::store(std::size_t thread, std::size_t location, std::uint64_t value, Order order) {
  append(thread, location, value, order, {});
}

void Machine::update(std::size_t thread, std::size_t location, std::uint64_t value, Order order) {
  const View inherited = locations_[location].back().released;  // goes on with release sequences
  (acquires(order) ? threads_[thread].now : threads_[thread].pending).join(inherited);
  append(thread, location, value, order, inherited);
}

void Machine::fence(std::size_t thread, Order order) {
  Thread& self = threads_[thread];
  if (acquires(order)) self.now.join(self.pending);
  if (releases(order)) self.released = self.now;
  self.changed = true;
}

std::uint64_t Machine::load(std::size_t thread, std::size_t location, Order order,
                            Choices& choices) {
  Thread& self = threads_[thread];
  const std::vector<Store>& stores = locations_[location];
  const std::size_t oldest = oldest_allowed(self, location);
  const auto count = static_cast<std::uint32_t>(stores.size() - oldest);
  // The newest first.
  const std::size_t taken = stores.size() - 1 - choices.choose(count);
  if (stores[taken].number != 0) {
    if (self.now.seen.empty()) self.now.seen.resize(locations_.size());
    self.now.seen[location] = static_cast<std::uint32_t>(taken);
    (acquires(order) ? self.now : self.pending).join(stores[taken].released);
    self.changed = true;
  }
  return stores[taken].value;
}

std::size_t Machine::oldest_unhidden(const Clock& clock, std::size_t location) const noexcept {
  const std::vector<Store>& stores = locations_[location];
  std::size_t i = stores.size() - 1;
  while (stores[i].number > clock[stores[i].thread]) i--;  // initial values have number 0
  return i;
}

std::size_t Machine::oldest_allowed(const Thread& thread, std::size_t location) const noexcept {
  const std::size_t unhidden = oldest_unhidden(thread.now.stores, location);
  if (thread.now.seen.empty()) return unhidden;
  return std::max<std::size_t>(unhidden, thread.now.seen[location]);
}

void Machine::hand_over(std::size_t from, std::size_t to) {
  threads_[to].now.join(threads_[from].now);
  threads_[to].changed = true;
}

void Machine::mark() {
  for (Thread& thread : threads_) thread.changed = false;
  marked_ = threads_;
}

void Machine::rewind() {
  for (std::size_t i = 0; i < kThreads; i++)
    if (threads_[i].changed) threads_[i] = marked_[i];
}

// What is hidden already is left out, so that equal futures have equal keys more often.
void Machine::append_key(std::size_t thread, std::string& key) {
  const Thread& self = threads_[thread];
  View later = self.now;
  later.join(self.pending);
  for (const std::uint32_t stores : self.now.stores) append_number(key, stores);
  for (const std::uint32_t stores : later.stores) append_number(key, stores);
  for (std::size_t i = 0; i < later.seen.size(); i++) {
    const std::uint32_t now = self.now.seen.empty() ? 0 : self.now.seen[i];
    if (now <= oldest_unhidden(self.now.stores, i) &&
        later.seen[i] <= oldest_unhidden(later.stores, i))
      continue;
    append_number(key, static_cast<std::uint32_t>(i));
    append_number(key, now);
    append_number(key, later.seen[i]);
  }
}

}  // namespace clockpage::weak_memory
