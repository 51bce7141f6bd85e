// SPDX-License-Identifier: MIT
#include <clockpage/kvm.h>

#include <cerrno>
#include <cstdint>

#include "open_error.hpp"

using clockpage::detail::accept;
using clockpage::detail::refuse;

#if defined(__x86_64__)

#include <cpuid.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

using clockpage::detail::refuse_system;

namespace {

struct Descriptor {
  int fd;
  explicit Descriptor(int opened) : fd(opened) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

// The kernel's default where it cannot be asked.
std::uint32_t tolerance_ppm() {
  const Descriptor file(open("/sys/module/kvm/parameters/tsc_tolerance_ppm", O_RDONLY | O_CLOEXEC));
  char text[16] = {};
  if (file.fd < 0 || read(file.fd, text, sizeof text - 1) <= 0) return CLOCKPAGE_KVM_TOLERANCE_PPM;
  const unsigned long ppm = std::strtoul(text, nullptr, 10);
  return ppm <= 1'000'000 ? static_cast<std::uint32_t>(ppm) : CLOCKPAGE_KVM_TOLERANCE_PPM;
}

// SVM's ratio has 32 fraction bits, VMX's multiplier 48.
std::uint8_t frac_bits() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  const bool svm =
      __get_cpuid(0, &a, &b, &c, &d) != 0 &&
      ((b == signature_AMD_ebx && c == signature_AMD_ecx) || b == 0x6f677948 /* "Hygo" */);
  return svm ? 32 : 48;
}

struct VcpuCounter {
  std::int64_t offset = 0;
  std::uint32_t khz = 0;
};

// Of L1, also while an L2 runs: KVM keeps the guest's own beside what it uses.
int read_vcpu(int fd, VcpuCounter& counter, clockpage_open_error* error) {
  kvm_device_attr attribute{};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<std::uintptr_t>(&counter.offset);
  if (ioctl(fd, KVM_GET_DEVICE_ATTR, &attribute) != 0)
    return refuse_system(error, "KVM_VCPU_TSC_OFFSET", errno);
  const int khz = ioctl(fd, KVM_GET_TSC_KHZ, 0);
  if (khz < 0) return refuse_system(error, "KVM_GET_TSC_KHZ", errno);
  counter.khz = static_cast<std::uint32_t>(khz);
  return CLOCKPAGE_OK;
}

}  // namespace

int clockpage_kvm_host_of(int kvm_fd, clockpage_kvm_host* host, clockpage_open_error* error) {
  if (host == nullptr) return refuse(error, CLOCKPAGE_E_ARGUMENT, "host is null");
  const int control = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL);
  if (control < 0) return refuse_system(error, "KVM_CAP_TSC_CONTROL", errno);
  const Descriptor machine(ioctl(kvm_fd, KVM_CREATE_VM, 0));
  if (machine.fd < 0) return refuse_system(error, "KVM_CREATE_VM", errno);
  // A new machine's frequency is the host's. Before Linux 5.18 only a vCPU tells.
  int khz = ioctl(machine.fd, KVM_GET_TSC_KHZ, 0);
  if (khz < 0) {
    const Descriptor vcpu(ioctl(machine.fd, KVM_CREATE_VCPU, 0));
    if (vcpu.fd < 0) return refuse_system(error, "KVM_CREATE_VCPU", errno);
    khz = ioctl(vcpu.fd, KVM_GET_TSC_KHZ, 0);
  }
  if (khz <= 0) return refuse_system(error, "KVM_GET_TSC_KHZ", khz < 0 ? errno : ENODATA);
  *host = {};
  host->tsc_khz = static_cast<std::uint32_t>(khz);
  host->tolerance_ppm = tolerance_ppm();
  host->frac_bits = control != 0 ? frac_bits() : 0;
  return accept(error);
}

int clockpage_kvm_relation(const int* vcpu_fds, size_t vcpu_count, const clockpage_kvm_host* host,
                           clockpage_counter_relation* out, clockpage_open_error* error) {
  if (vcpu_fds == nullptr || vcpu_count == 0 || host == nullptr || out == nullptr)
    return refuse(error, CLOCKPAGE_E_ARGUMENT, "an argument is null, or there is no vCPU");
  VcpuCounter first;
  for (size_t i = 0; i < vcpu_count; i++) {
    VcpuCounter counter;
    const int code = read_vcpu(vcpu_fds[i], counter, error);
    if (code != CLOCKPAGE_OK) return code;
    if (i == 0) first = counter;
    if (counter.offset != first.offset)
      return refuse(error, CLOCKPAGE_E_VIEW, "vCPU 0 has TSC offset %lld and vCPU %zu has %lld",
                    static_cast<long long>(first.offset), i,
                    static_cast<long long>(counter.offset));
    if (counter.khz != first.khz)
      return refuse(error, CLOCKPAGE_E_VIEW, "vCPU 0 has %u kHz and vCPU %zu has %u kHz", first.khz,
                    i, counter.khz);
  }
  clockpage_counter_relation relation{};
  relation.offset = first.offset;
  switch (clockpage_kvm_scale(host, first.khz, &relation)) {
    case CLOCKPAGE_OK:
      *out = relation;
      return accept(error);
    case CLOCKPAGE_E_VIEW:
      return refuse(error, CLOCKPAGE_E_VIEW,
                    "KVM has no ratio for a guest of %u kHz on a host of %u kHz with %u fraction "
                    "bits",
                    first.khz, host->tsc_khz, host->frac_bits);
    default:
      return refuse(error, CLOCKPAGE_E_ARGUMENT,
                    "the host is said to have %u kHz, %u fraction bits", host->tsc_khz,
                    host->frac_bits);
  }
}

#else

int clockpage_kvm_host_of(int /*kvm_fd*/, clockpage_kvm_host* /*host*/,
                          clockpage_open_error* error) {
  return clockpage::detail::refuse_system(error, "KVM's TSC", ENOSYS);
}
int clockpage_kvm_relation(const int* /*vcpu_fds*/, size_t /*vcpu_count*/,
                           const clockpage_kvm_host* /*host*/, clockpage_counter_relation* /*out*/,
                           clockpage_open_error* error) {
  return clockpage::detail::refuse_system(error, "KVM's TSC", ENOSYS);
}

#endif
