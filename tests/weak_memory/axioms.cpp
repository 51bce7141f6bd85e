// SPDX-License-Identifier: MIT
#include "axioms.hpp"

#include <array>
#include <optional>

namespace clockpage::weak_memory {

namespace {

constexpr std::size_t kMaxEvents = 31;

bool reads(const Event& e) { return e.kind == Event::Kind::load || e.kind == Event::Kind::update; }
bool writes(const Event& e) {
  return e.kind == Event::Kind::store || e.kind == Event::Kind::update;
}

// A relation over events: bit b of row a is set if a comes before b.
class Relation {
 public:
  void add(std::size_t a, std::size_t b) { rows_[a] |= std::uint32_t{1} << b; }
  [[nodiscard]] bool has(std::size_t a, std::size_t b) const { return (rows_[a] >> b & 1) != 0; }
  void close(std::size_t events) {
    for (std::size_t k = 0; k < events; k++)
      for (std::size_t a = 0; a < events; a++)
        if (has(a, k)) rows_[a] |= rows_[k];
  }
  [[nodiscard]] bool cyclic() const {  // once closed
    for (std::size_t a = 0; a < kMaxEvents; a++)
      if (has(a, a)) return true;
    return false;
  }

 private:
  std::array<std::uint32_t, kMaxEvents> rows_{};
};

class Candidate {
 public:
  // reads_from[i]: the event that event i reads, or nothing for the initial value.
  Candidate(const Program& program, const std::vector<std::optional<std::size_t>>& reads_from)
      : program_(program), reads_from_(reads_from) {}

  [[nodiscard]] bool allowed() const {
    // An update reads what comes just before it (7.17.3p12).
    for (std::size_t a = 0; a < program_.size(); a++)
      if (program_[a].kind == Event::Kind::update && read_place(a) + 1 != place(a)) return false;
    Relation happens_before = program_order();
    Relation causes = happens_before;
    for (std::size_t r = 0; r < program_.size(); r++) {
      if (!reads(program_[r]) || !reads_from_[r]) continue;
      causes.add(*reads_from_[r], r);
      add_synchronisation(r, happens_before);
    }
    happens_before.close(program_.size());
    causes.close(program_.size());
    if (happens_before.cyclic() || causes.cyclic()) return false;
    for (std::size_t a = 0; a < program_.size(); a++)
      for (std::size_t b = 0; b < program_.size(); b++)
        if (happens_before.has(a, b) && !coherent(a, b)) return false;
    return true;
  }

 private:
  [[nodiscard]] Relation program_order() const {
    Relation relation;
    for (std::size_t a = 0; a < program_.size(); a++)
      for (std::size_t b = a + 1; b < program_.size(); b++)
        if (program_[a].thread == program_[b].thread) relation.add(a, b);
    return relation;
  }

  // Everything that releases to `read`, by the store it reads or one whose release sequence that
  // is in, with everything that acquires from it.
  void add_synchronisation(std::size_t read, Relation& relation) const {
    std::optional<std::size_t> head = reads_from_[read];
    while (head) {
      for (std::size_t a = 0; a < program_.size(); a++) {
        const bool fenced = program_[a].kind == Event::Kind::fence &&
                            program_[a].thread == program_[*head].thread && a < *head;
        if (!releases(program_[a].order) || !(a == *head || fenced)) continue;
        for (std::size_t b = 0; b < program_.size(); b++) {
          const bool fences = program_[b].kind == Event::Kind::fence &&
                              program_[b].thread == program_[read].thread && read < b;
          if (acquires(program_[b].order) && (b == read || fences)) relation.add(a, b);
        }
      }
      if (program_[*head].kind != Event::Kind::update) break;
      head = reads_from_[*head];
    }
  }

  // The place of a store in its location's modification order; 0 is the initial value's.
  [[nodiscard]] std::size_t place(std::size_t store) const {
    std::size_t result = 1;
    for (std::size_t i = 0; i < store; i++)
      if (writes(program_[i]) && program_[i].location == program_[store].location) result++;
    return result;
  }
  [[nodiscard]] std::size_t read_place(std::size_t read) const {
    return reads_from_[read] ? place(*reads_from_[read]) : 0;
  }

  // The four rules of coherence for a that happens before b.
  [[nodiscard]] bool coherent(std::size_t a, std::size_t b) const {
    const Event& first = program_[a];
    const Event& second = program_[b];
    if (first.kind == Event::Kind::fence || second.kind == Event::Kind::fence ||
        first.location != second.location)
      return true;
    if (writes(first) && writes(second) && place(a) >= place(b)) return false;
    if (writes(first) && reads(second) && read_place(b) < place(a)) return false;
    if (reads(first) && writes(second) && read_place(a) >= place(b)) return false;
    return !(reads(first) && reads(second) && read_place(a) > read_place(b));
  }

  const Program& program_;
  const std::vector<std::optional<std::size_t>>& reads_from_;
};

}  // namespace

std::set<Outcome> outcomes_by_axioms(const Program& program) {
  std::set<Outcome> outcomes;
  Choices choices;
  do {
    choices.begin();
    std::vector<std::optional<std::size_t>> reads_from(program.size());
    Outcome outcome;
    for (std::size_t r = 0; r < program.size(); r++) {
      if (!reads(program[r])) continue;
      std::vector<std::optional<std::size_t>> stores{std::nullopt};
      for (std::size_t w = 0; w < program.size(); w++)
        if (w != r && writes(program[w]) && program[w].location == program[r].location)
          stores.emplace_back(w);
      reads_from[r] = stores[choices.choose(static_cast<std::uint32_t>(stores.size()))];
      if (program[r].kind == Event::Kind::load)
        outcome.push_back(reads_from[r] ? program[*reads_from[r]].value : 0);
    }
    if (Candidate(program, reads_from).allowed()) outcomes.insert(outcome);
  } while (choices.advance());
  return outcomes;
}

std::set<Outcome> outcomes_by_machine(const Program& program, std::uint64_t* executions) {
  std::size_t locations = 0;
  for (const Event& e : program) locations = std::max(locations, e.location + 1);
  std::set<Outcome> outcomes;
  Choices choices;
  do {
    choices.begin();
    Machine machine(std::vector<std::uint64_t>(locations, 0));
    Outcome outcome;
    for (const Event& e : program) {
      switch (e.kind) {
        case Event::Kind::store:
          machine.store(e.thread, e.location, e.value, e.order);
          break;
        case Event::Kind::update:
          machine.update(e.thread, e.location, e.value, e.order);
          break;
        case Event::Kind::load:
          outcome.push_back(machine.load(e.thread, e.location, e.order, choices));
          break;
        case Event::Kind::fence:
          machine.fence(e.thread, e.order);
          break;
      }
    }
    outcomes.insert(outcome);
    if (executions != nullptr) ++*executions;
  } while (choices.advance());
  return outcomes;
}

}  // namespace clockpage::weak_memory
