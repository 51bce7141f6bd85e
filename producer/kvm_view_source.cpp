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
  if (memory.contains("unreadable_since_ns"))
    unreadable_since_ = Clock::time_point(
        std::chrono::nanoseconds(integer_of<std::int64_t>(memory, "unreadable_since_ns")));
}

// What was known last, after a reading that has not told.
bool KvmViewSource::may_hold() {
  if (state_ != State::unreadable) {
    unreadable_since_.reset();
    return state_ == State::nested;
  }
  const auto now = Clock::now();
  if (!unreadable_since_ || *unreadable_since_ > now) unreadable_since_ = now;
  return now - *unreadable_since_ < kPatience;
}

void KvmViewSource::apply(ViewState& state, const ViewRegistry& /*views*/) {
  KvmReading reading = debugfs_.read(machine_);
  state_ = reading.state;
  reason_ = std::move(reading.reason);
  // Of two relations, of one that nobody can follow, or of none before it, no view can be made.
  if (!may_hold()) last_.reset();
  if (state_ == State::known) last_ = reading.relation;
  if (!last_) throw RegionError(reason_);
  state.counter_offset = last_->offset;
  state.counter_ratio = last_->ratio;
  state.counter_frac_bits = last_->frac_bits;
}

ViewSource::Doubt KvmViewSource::doubt() const {
  if (state_ == State::known) return {};
  return {reason_, state_ == State::nested};
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
  Json memory{{"kvm",
               {{"start_time", machine_.start_time},
                {"creator", machine_.creator},
                {"fd", machine_.fd},
                {"inode", machine_.inode}}}};
  if (unreadable_since_)
    memory["unreadable_since_ns"] =
        std::chrono::nanoseconds(unreadable_since_->time_since_epoch()).count();
  return memory;
}

}  // namespace clockpage::producer
