// SPDX-License-Identifier: MIT
// A view whose counter is that of a virtual machine, as KVM's debugfs files say it: spec 9.3.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "kvm_relation.hpp"
#include "view_sources.hpp"

namespace clockpage::producer {

class KvmViewSource final : public ViewSource {
 public:
  // `memory`: what memory() said, and what the view says now ("relation"), if it has been made
  // before; null: the machine is looked for. Throws RegionError.
  KvmViewSource(KvmDebugfs debugfs, const ViewFields& fields, const nlohmann::json& memory);

  // How long the files may tell nothing before what they said last holds no more: by then three
  // polls have failed.
  static constexpr std::chrono::seconds kPatience{2};

  // Where the files tell nothing for a moment, or a nested guest's, the relation stays as it was.
  // Where the machine has ended, or they have told nothing for kPatience, there is none.
  void apply(ViewState& state, const ViewRegistry& views) override;
  [[nodiscard]] Doubt doubt() const override;
  [[nodiscard]] nlohmann::json json() const override;
  [[nodiscard]] nlohmann::json memory() const override;

 private:
  using Clock = std::chrono::steady_clock;  // goes on over a restart of this program
  [[nodiscard]] bool may_hold();

  KvmDebugfs debugfs_;
  KvmMachine machine_;
  std::optional<CounterRelation> last_;  // what held when it was last known
  KvmReading::State state_ = KvmReading::State::known;
  std::string reason_;                                 // why it is not known now
  std::optional<Clock::time_point> unreadable_since_;  // without an end in between
};

}  // namespace clockpage::producer
