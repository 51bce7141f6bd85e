// SPDX-License-Identifier: MIT
// clockpage/kvm.h. kvm.cpp is linked in with --wrap=ioctl, so that a descriptor of the test's own
// can answer as vCPUs do that this machine does not have; every other goes to the kernel.
#include <clockpage/kvm.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

extern "C" int clockpage_kvm_c_test_scale(uint32_t host_khz, uint32_t guest_khz, uint8_t frac_bits,
                                          uint64_t* ratio);

namespace {

constexpr int kFirstMade = 100'000;  // above any real descriptor
struct MadeVcpu {
  std::int64_t offset;
  int khz;
};
std::vector<MadeVcpu> made;

}  // namespace

// The linker's names.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" int __real_ioctl(int fd, unsigned long request, void* argument);
extern "C" int __wrap_ioctl(int fd, unsigned long request, void* argument) {
  if (fd < kFirstMade) return __real_ioctl(fd, request, argument);
  const MadeVcpu& vcpu = made.at(static_cast<std::size_t>(fd - kFirstMade));
  if (request == KVM_GET_TSC_KHZ) return vcpu.khz;
  const auto* attribute = static_cast<const kvm_device_attr*>(argument);
  if (request != KVM_GET_DEVICE_ATTR || attribute->group != KVM_VCPU_TSC_CTRL ||
      attribute->attr != KVM_VCPU_TSC_OFFSET) {
    errno = ENXIO;
    return -1;
  }
  std::memcpy(reinterpret_cast<void*>(attribute->addr), &vcpu.offset, sizeof vcpu.offset);
  return 0;
}
// NOLINTEND(bugprone-reserved-identifier)

namespace {

struct Outcome {
  int code;
  clockpage_counter_relation relation;
  clockpage_open_error error;
};
Outcome relation_of(const std::vector<int>& fds, const clockpage_kvm_host& host) {
  Outcome outcome{0, {-1, 77, 77, {}}, {}};
  outcome.code =
      clockpage_kvm_relation(fds.data(), fds.size(), &host, &outcome.relation, &outcome.error);
  EXPECT_EQ(outcome.code, outcome.error.code);
  return outcome;
}
Outcome relation_of_made(std::vector<MadeVcpu> vcpus, const clockpage_kvm_host& host) {
  made = std::move(vcpus);
  std::vector<int> fds;
  for (std::size_t i = 0; i < made.size(); i++) fds.push_back(kFirstMade + static_cast<int>(i));
  return relation_of(fds, host);
}

constexpr clockpage_kvm_host kVmx{2'300'000, 250, 48, {}};
constexpr clockpage_kvm_host kSvm{2'300'000, 250, 32, {}};
constexpr clockpage_kvm_host kUnscaled{2'300'000, 250, 0, {}};

TEST(KvmRelationTest, ScalesAsKvmDoes) {
  EXPECT_EQ(relation_of_made({{-5, 1'000'000}}, kVmx).relation.ratio, 122380424656806U);
  EXPECT_EQ(relation_of_made({{-5, 1'000'000}}, kVmx).relation.frac_bits, 48);
  EXPECT_EQ(relation_of_made({{-5, 1'000'000}}, kVmx).relation.offset, -5);
  EXPECT_EQ(relation_of_made({{INT64_MIN, 3'000'000}}, kSvm).relation.ratio, 5602131255U);
  EXPECT_EQ(relation_of_made({{INT64_MIN, 3'000'000}}, kSvm).relation.frac_bits, 32);
  EXPECT_EQ(relation_of_made({{INT64_MIN, 3'000'000}}, kSvm).relation.offset, INT64_MIN);
}

// kvm_set_tsc_khz: within the tolerance the guest runs unscaled, whatever KVM_GET_TSC_KHZ says.
TEST(KvmRelationTest, IsOneWithinKvmsTolerance) {
  for (const int khz : {2'300'000, 2'299'425, 2'300'575}) {
    const Outcome o = relation_of_made({{7, khz}}, kVmx);
    EXPECT_EQ(o.code, CLOCKPAGE_OK) << khz;
    EXPECT_EQ(o.relation.ratio, 1U) << khz;
    EXPECT_EQ(o.relation.frac_bits, 0) << khz;
  }
  for (const int khz : {2'299'424, 2'300'576})
    EXPECT_EQ(relation_of_made({{7, khz}}, kVmx).relation.frac_bits, 48) << khz;
}

TEST(KvmRelationTest, IsRefusedWhereKvmHasNoRatio) {
  EXPECT_EQ(relation_of_made({{7, 2'300'100}}, kUnscaled).code, CLOCKPAGE_OK);
  for (const int khz : {2'000'000, 2'600'000}) {
    const Outcome o = relation_of_made({{7, khz}}, kUnscaled);
    EXPECT_EQ(o.code, CLOCKPAGE_E_VIEW) << khz;
    EXPECT_EQ(o.relation.ratio, 77U);  // not written
  }
  // 256 times the host's: beyond SVM's 8 bits before the point, not beyond VMX's 16.
  const clockpage_kvm_host slow{1'000, 250, 32, {}};
  EXPECT_EQ(relation_of_made({{7, 256'000}}, slow).code, CLOCKPAGE_E_VIEW);
  EXPECT_EQ(relation_of_made({{7, 255'000}}, slow).relation.ratio, std::uint64_t{255} << 32);
  EXPECT_EQ(relation_of_made({{7, 256'000}}, {1'000, 250, 48, {}}).relation.ratio,
            std::uint64_t{256} << 48);
}

TEST(KvmRelationTest, IsOneForAllVcpusOrNone) {
  EXPECT_EQ(relation_of_made({{-5, 1'000'000}, {-5, 1'000'000}}, kVmx).code, CLOCKPAGE_OK);
  Outcome o = relation_of_made({{-5, 1'000'000}, {-5, 1'000'000}, {-6, 1'000'000}}, kVmx);
  EXPECT_EQ(o.code, CLOCKPAGE_E_VIEW);
  EXPECT_STREQ(o.error.where, "vCPU 0 has TSC offset -5 and vCPU 2 has -6");
  o = relation_of_made({{-5, 1'000'000}, {-5, 1'000'001}}, kVmx);
  EXPECT_EQ(o.code, CLOCKPAGE_E_VIEW);
  EXPECT_STREQ(o.error.where, "vCPU 0 has 1000000 kHz and vCPU 1 has 1000001 kHz");
}

TEST(KvmRelationTest, SaysWhatIsWrongWithItsArguments) {
  clockpage_open_error error{};
  const int fd = 0;
  EXPECT_EQ(clockpage_kvm_relation(&fd, 0, &kVmx, nullptr, &error), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_kvm_relation(nullptr, 1, &kVmx, nullptr, nullptr), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(relation_of_made({{0, 1'000'000}}, {0, 250, 48, {}}).code, CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(relation_of_made({{0, 1'000'000}}, {1'000, 250, 40, {}}).code, CLOCKPAGE_E_ARGUMENT);
  Outcome o = relation_of({-1}, kVmx);
  EXPECT_EQ(o.code, CLOCKPAGE_E_SYSTEM);
  EXPECT_EQ(o.error.saved_errno, EBADF);
  const int file = open("/dev/null", O_RDWR | O_CLOEXEC);
  o = relation_of({file}, kVmx);
  EXPECT_EQ(o.code, CLOCKPAGE_E_SYSTEM);
  EXPECT_EQ(o.error.saved_errno, ENOTTY);
  EXPECT_EQ(std::string(o.error.where).rfind("KVM_VCPU_TSC_OFFSET: ", 0), 0U) << o.error.where;
  clockpage_kvm_host host{};
  EXPECT_EQ(clockpage_kvm_host_of(file, &host, &error), CLOCKPAGE_E_SYSTEM);
  EXPECT_EQ(error.saved_errno, ENOTTY);
  EXPECT_EQ(clockpage_kvm_host_of(file, nullptr, nullptr), CLOCKPAGE_E_ARGUMENT);
  close(file);
}

TEST(KvmRelationTest, IsC11) {
  std::uint64_t ratio = 0;
  EXPECT_EQ(clockpage_kvm_c_test_scale(2'000'000, 1'000'000, 48, &ratio), CLOCKPAGE_OK);
  EXPECT_EQ(ratio, std::uint64_t{1} << 47);
}

// The real thing. Where this machine has no KVM there is nothing to ask: no skip, since all else
// that the functions do is above.
TEST(KvmRelationTest, IsWhatThisMachinesKvmSays) {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) {
    std::printf("/dev/kvm: %s: nothing to ask here\n", std::strerror(errno));
    return;
  }
  clockpage_kvm_host host{};
  clockpage_open_error error{};
  ASSERT_EQ(clockpage_kvm_host_of(kvm, &host, &error), CLOCKPAGE_OK) << error.where;
  EXPECT_GT(host.tsc_khz, 100'000U);
  EXPECT_EQ(host.frac_bits != 0, ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0);
  const int machine = ioctl(kvm, KVM_CREATE_VM, 0);
  ASSERT_GE(machine, 0) << std::strerror(errno);
  const std::vector<int> fds = {ioctl(machine, KVM_CREATE_VCPU, 0),
                                ioctl(machine, KVM_CREATE_VCPU, 1)};
  ASSERT_GE(fds[0], 0) << std::strerror(errno);
  ASSERT_GE(fds[1], 0) << std::strerror(errno);
  std::int64_t offset = -123'456'789'012;
  kvm_device_attr attribute{};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<std::uintptr_t>(&offset);
  for (const int fd : fds) ASSERT_EQ(ioctl(fd, KVM_SET_DEVICE_ATTR, &attribute), 0);
  Outcome o = relation_of(fds, host);
  EXPECT_EQ(o.code, CLOCKPAGE_OK) << o.error.where;
  // A KVM that takes the offset tells it again; some accept and forget it.
  std::int64_t told = 0;
  attribute.addr = reinterpret_cast<std::uintptr_t>(&told);
  ASSERT_EQ(ioctl(fds[0], KVM_GET_DEVICE_ATTR, &attribute), 0);
  EXPECT_EQ(o.relation.offset, told);
  if (told != offset) std::printf("this KVM takes a TSC offset and forgets it\n");
  EXPECT_EQ(o.relation.ratio, 1U);
  EXPECT_EQ(o.relation.frac_bits, 0);
  // A machine's descriptor is no vCPU's.
  EXPECT_EQ(relation_of({machine}, host).code, CLOCKPAGE_E_SYSTEM);
  for (const int fd : fds) close(fd);
  close(machine);
  close(kvm);
}

}  // namespace
