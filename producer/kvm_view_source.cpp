// SPDX-License-Identifier: MIT
#include "kvm_view_source.hpp"

#include <limits>

namespace clockpage::producer {

namespace {

using Json = nlohmann::json;
using State = KvmReading::State;

// A record is this program's own, but a file.
template <typename Integer>
Integer integer_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_integer())
    throw RegionError(std::string(key) + ": is missing, or not a whole number");
  if (found->is_number_unsigned()) {
    const auto value = found->get<std::uint64_t>();
    if (std::in_range<Integer>(value)) return static_cast<Integer>(value);
  } else {
    const auto value = found->get<std::int64_t>();
    if (std::in_range<Integer>(value)) return static_cast<Integer>(value);
  }
  throw RegionError(std::string(key) + ": is out of range");
}

KvmMachine machine_of(const Json& json, pid_t pid) {
  return {pid, integer_of<std::uint64_t>(json, "start_time"), integer_of<pid_t>(json, "creator"),
          integer_of<int>(json, "fd"), integer_of<std::uint64_t>(json, "inode")};
}

}  // namespace

KvmViewSource::KvmViewSource(KvmDebugfs debugfs, const ViewFields& fields, const Json& memory)
    : debugfs_(std::move(debugfs)) {
  const auto kvm = memory.find("kvm");
  if (!memory.is_object() || kvm == memory.end()) {
    machine_ = debugfs_.find(*fields.vm_pid, fields.vm_fd);
    return;
  }
  machine_ = machine_of(*kvm, *fields.vm_pid);
  const auto relation = memory.find("relation");
  if (relation != memory.end())
    last_ = CounterRelation{integer_of<std::int64_t>(*relation, "offset"),
                            integer_of<std::uint64_t>(*relation, "ratio"),
                            integer_of<std::uint8_t>(*relation, "frac_bits")};
}

void KvmViewSource::apply(ViewState& state, const ViewRegistry& /*views*/) {
  KvmReading reading = debugfs_.read(machine_);
  state_ = reading.state;
  reason_ = std::move(reading.reason);
  // Of two relations, or of an unknown one and none before it, no view can be made.
  if (state_ == State::disagree) last_.reset();
  if (state_ == State::known) last_ = reading.relation;
  if (!last_) throw RegionError(reason_);
  state.counter_offset = last_->offset;
  state.counter_ratio = last_->ratio;
  state.counter_frac_bits = last_->frac_bits;
}

Json KvmViewSource::json() const {
  Json json{{"kind", "kvm"},
            {"vm_pid", machine_.pid},
            {"vm_fd", machine_.fd},
            {"path", debugfs_.path_of(machine_).string()}};
  if (state_ == State::gone) json["gone"] = true;
  if (state_ == State::nested) json["nested"] = true;
  if (!reason_.empty()) json["note"] = reason_;
  return json;
}

Json KvmViewSource::memory() const {
  return {{"kvm",
           {{"start_time", machine_.start_time},
            {"creator", machine_.creator},
            {"fd", machine_.fd},
            {"inode", machine_.inode}}}};
}

}  // namespace clockpage::producer
