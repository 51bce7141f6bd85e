// SPDX-License-Identifier: MIT
// How a KVM guest's counter comes of the host's, from KVM's debugfs files (spec 9.3):
//
//   ROOT/<pid>-<fd>/vcpu<N>/{tsc-offset,tsc-scaling-ratio,tsc-scaling-ratio-frac-bits,guest_mode}
//
// of arch/x86/kvm/debugfs.c and kvm_create_vm_debugfs of virt/kvm/kvm_main.c. A virtual machine may
// change or vanish between any two reads.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "region.hpp"

namespace clockpage::producer {

inline constexpr const char* kKvmDebugfs = "/sys/kernel/debug/kvm";

// guest's counter = ((host's counter * ratio) >> frac_bits) + offset
struct CounterRelation {
  std::int64_t offset = 0;
  std::uint64_t ratio = 1;
  std::uint8_t frac_bits = 0;  // 0: ratio one; 32 (SVM), 48 (VMX)
  bool operator==(const CounterRelation&) const = default;
};

// One virtual machine, recognised again after a restart of this program, and never taken for
// another that has its numbers by then.
struct KvmMachine {
  pid_t pid = 0;                 // the VMM's process
  std::uint64_t start_time = 0;  // of it: field 22 of /proc/PID/stat, clock ticks since boot
  pid_t creator = 0;             // the VMM's thread that made it: debugfs calls it by that
  int fd = 0;                    // the VMM's descriptor of it
  std::uint64_t inode = 0;       // of its directory
  bool operator==(const KvmMachine&) const = default;
};

struct KvmReading {
  enum class State {
    known,
    disagree,    // two vCPUs have different relations: there is none for a view
    nested,      // what the files say may be an L2 guest's
    unreadable,  // for now: no debugfs, no vCPU yet, a file that cannot be read or understood
    gone,        // this machine is no more: KVM's directory is there, and it is not in it
  };
  State state = State::unreadable;
  CounterRelation relation{};  // if known
  std::string reason{};        // else: one line
};

class KvmDebugfs {
 public:
  explicit KvmDebugfs(std::filesystem::path root = kKvmDebugfs) : root_(std::move(root)) {}
  // The machine of this process; `fd` (the VMM's descriptor of it, which `ls -l /proc/PID/fd` shows
  // as anon_inode:kvm-vm) where it has several. Throws RegionError, which says what to do.
  [[nodiscard]] KvmMachine find(pid_t pid, std::optional<int> fd) const;
  // Does not throw but for want of memory. A few system calls for each vCPU.
  [[nodiscard]] KvmReading read(const KvmMachine& machine) const;
  // As read(), where nothing but `known` will do. Throws RegionError.
  [[nodiscard]] CounterRelation relation_of(const KvmMachine& machine) const;
  [[nodiscard]] std::filesystem::path path_of(const KvmMachine& machine) const;

 private:
  std::filesystem::path root_;
};

}  // namespace clockpage::producer
