// SPDX-License-Identifier: MIT
// A view whose counter is that of a virtual machine, as KVM's debugfs files say it: spec 9.3.
#pragma once

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

  // Where the files do not tell for now, or the machine has ended, the relation stays as it was.
  void apply(ViewState& state, const ViewRegistry& views) override;
  [[nodiscard]] nlohmann::json json() const override;
  [[nodiscard]] nlohmann::json memory() const override;

 private:
  KvmDebugfs debugfs_;
  KvmMachine machine_;
  std::optional<CounterRelation> last_;  // what held when it was last known
  KvmReading::State state_ = KvmReading::State::known;
  std::string reason_;  // why it is not known now
};

}  // namespace clockpage::producer
