// SPDX-License-Identifier: MIT
#include "view_sources.hpp"

#include "kvm_view_source.hpp"
#include "parent_view.hpp"

namespace clockpage::producer {

ViewSources make_view_sources(const ViewFields& fields, const nlohmann::json& memory,
                              const std::filesystem::path& kvm_debugfs) {
  ViewSources sources;
  if (fields.vm_fd && !fields.vm_pid) throw RegionError("vm_fd: needs vm_pid");
  if (fields.vm_pid) {
    if (fields.counter_offset || fields.counter_ratio || fields.counter_frac_bits)
      throw RegionError(
          "vm_pid: says what counter_offset, counter_ratio and counter_frac_bits are: not both");
    if (fields.parent)
      throw RegionError("vm_pid: KVM's relation is to this host: not with a parent");
    sources.push_back(std::make_unique<KvmViewSource>(KvmDebugfs(kvm_debugfs), fields, memory));
  }
  if (fields.parent) sources.push_back(make_parent_source(*fields.parent));
  return sources;
}

}  // namespace clockpage::producer
