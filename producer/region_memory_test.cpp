// SPDX-License-Identifier: MIT
#include "region_memory.hpp"

#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "region.hpp"
#include "test_region.hpp"

namespace clockpage::producer {
namespace {

class Memory {
 public:
  explicit Memory(int fd = make_region_memory()) : fd_(fd) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { close(fd_); }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] std::string name() const { return "/proc/self/fd/" + std::to_string(fd_); }
  [[nodiscard]] std::string content() const {
    std::string bytes(CLOCKPAGE_REGION_SIZE, '\0');
    EXPECT_EQ(pread(fd_, bytes.data(), bytes.size(), 0), CLOCKPAGE_REGION_SIZE);
    return bytes;
  }
  void put(std::size_t offset, const void* bytes, std::size_t size) const {
    EXPECT_EQ(pwrite(fd_, bytes, size, static_cast<off_t>(offset)), static_cast<ssize_t>(size));
  }
  [[nodiscard]] ExistingRegion inspect(std::string_view source = "vvar") const {
    return Region::inspect_memory(fd_, kBoot, this_counter(), source, kNow);
  }

 private:
  int fd_;
};

std::string refusal_of(const std::function<void()>& attempt) {
  try {
    attempt();
  } catch (const RegionError& e) {
    return e.what();
  }
  return "not refused";
}

TEST(RegionMemoryTest, KeepsItsSizeWhoeverTriesAndIsAllocated) {
  const Memory memory;
  struct stat status {};
  ASSERT_EQ(fstat(memory.get(), &status), 0);
  EXPECT_EQ(status.st_size, CLOCKPAGE_REGION_SIZE);
  EXPECT_EQ(status.st_blocks * 512, CLOCKPAGE_REGION_SIZE);
  for (const off_t size : {0, 4096, CLOCKPAGE_REGION_SIZE - 1, CLOCKPAGE_REGION_SIZE + 1}) {
    EXPECT_EQ(ftruncate(memory.get(), size), -1);
    EXPECT_EQ(errno, EPERM);
  }
  EXPECT_EQ(fcntl(memory.get(), F_ADD_SEALS, F_SEAL_WRITE), -1);  // no more seals either
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(fcntl(memory.get(), F_GETFD), FD_CLOEXEC);
}

TEST(RegionMemoryTest, AReadOnlyDescriptorCannotBecomeAWritableOne) {
  const Memory memory;
  const Memory reader(open(memory.name().c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_GE(reader.get(), 0);
  EXPECT_EQ(
      mmap(nullptr, CLOCKPAGE_REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, reader.get(), 0),
      MAP_FAILED);
  EXPECT_EQ(errno, EACCES);
  const bool is_root = geteuid() == 0;
  if (is_root) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  const int again = open(reader.name().c_str(), O_RDONLY | O_CLOEXEC);
  const int writable = open(reader.name().c_str(), O_RDWR | O_CLOEXEC);
  const int reason = errno;
  if (is_root) {
    ASSERT_EQ(seteuid(0), 0);
  }
  EXPECT_GE(again, 0);
  EXPECT_EQ(writable, -1);
  EXPECT_EQ(reason, EACCES);
  close(again);
}

TEST(RegionMemoryTest, OtherMemoryAndFilesAreRefused) {
  const std::string unsealed =
      ": is not memory that is sealed against shrinking (memfd_create, F_SEAL_SHRINK)";
  const Memory loose(memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(loose.get(), CLOCKPAGE_REGION_SIZE), 0);
  const Memory file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  for (const int fd : {loose.get(), file.get()})
    EXPECT_EQ(refusal_of([&] { check_region_memory(fd); }),
              "descriptor " + std::to_string(fd) + unsealed);
  const Memory small(memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(small.get(), 4096), 0);
  ASSERT_EQ(fcntl(small.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_EQ(refusal_of([&] { check_region_memory(small.get()); }),
            "descriptor " + std::to_string(small.get()) + ": is 4096 bytes instead of 32768");
  EXPECT_EQ(refusal_of([] { check_region_memory(1'000'000); }),
            "descriptor 1000000: Bad file descriptor");
}

TEST(RegionMemoryTest, BecomesARegionWithTheLastWordThatIsWritten) {
  const Memory memory;
  EXPECT_EQ(memory.inspect(), ExistingRegion::none);
  const auto image = image_of(kBoot);
  // What a writer leaves that dies in the middle: to a reader no region, to a writer none.
  memory.put(8, image.data() + 8, image.size() - 8);
  clockpage_open_options options{};
  options.size = sizeof options;
  options.flags = CLOCKPAGE_OPEN_GUEST;
  clockpage_region* region = nullptr;
  EXPECT_EQ(clockpage_open_fd(memory.get(), &options, &region, nullptr), CLOCKPAGE_E_MAGIC);
  EXPECT_EQ(memory.inspect(), ExistingRegion::none);
  Region::create_in_memory(memory.get(), image);
  EXPECT_EQ(memory.inspect(), ExistingRegion::adoptable);
  EXPECT_EQ(clockpage_open_fd(memory.get(), &options, &region, nullptr), CLOCKPAGE_OK);
  clockpage_close(region);
  EXPECT_EQ(memory.content(),
            std::string(reinterpret_cast<const char*>(image.data()), image.size()));
}

TEST(RegionMemoryTest, AReaderSeesTheWholeRegionOrNone) {
  const auto image = image_of(kBoot);
  const std::size_t words = image.size() / 8;
  for (int round = 0; round < 200; round++) {
    const Memory memory;
    auto* seen = static_cast<const std::uint64_t*>(
        mmap(nullptr, image.size(), PROT_READ, MAP_SHARED, memory.get(), 0));
    ASSERT_NE(seen, MAP_FAILED);
    std::atomic<bool> watching{false};
    std::size_t missing = 0;
    std::thread reader([&] {
      watching = true;
      while (__atomic_load_n(seen, __ATOMIC_ACQUIRE) == 0) {
      }
      for (std::size_t i = words; i-- > 0;) {
        std::uint64_t expected = 0;
        std::memcpy(&expected, image.data() + i * 8, 8);
        missing += __atomic_load_n(seen + i, __ATOMIC_RELAXED) != expected;
      }
    });
    while (!watching) std::this_thread::yield();
    Region::create_in_memory(memory.get(), image);
    reader.join();
    munmap(const_cast<std::uint64_t*>(seen), image.size());
    ASSERT_EQ(missing, 0U) << "words, in round " << round;
  }
}

TEST(RegionMemoryTest, AdoptionIsInPlace) {
  const Memory memory;
  Region::create_in_memory(memory.get(), image_of(kBoot));
  const std::string before = memory.content();
  const Region first = Region::adopt_memory(memory.get());
  const Region second = Region::adopt_memory(memory.get());
  EXPECT_EQ(memory.content(), before);
  first.pages()[0]->diagnostics.adoptions = 7;
  EXPECT_EQ(second.pages()[0]->diagnostics.adoptions, 7U);
}

TEST(RegionMemoryTest, TellsWhatCannotGoOn) {
  const Memory revoked;
  Region::create_in_memory(revoked.get(), image_of(kBoot)).revoke();
  EXPECT_EQ(revoked.inspect(), ExistingRegion::revoked);
  const Memory earlier;
  Region::create_in_memory(earlier.get(), image_of(kEarlierBoot));
  EXPECT_EQ(earlier.inspect(), ExistingRegion::earlier_boot);
}

TEST(RegionMemoryTest, RefusesGarbageAndForeignRegionsAndLeavesThem) {
  const auto expect_refused = [](const Memory& memory, const std::string& reason,
                                 std::string_view source = "vvar") {
    const std::string before = memory.content();
    const std::string text = refusal_of([&] { (void)memory.inspect(source); });
    EXPECT_NE(text.find("descriptor " + std::to_string(memory.get()) + ": "), std::string::npos);
    EXPECT_NE(text.find(reason), std::string::npos) << text;
    EXPECT_EQ(memory.content(), before);
  };
  const Memory garbage;
  garbage.put(0, "xxxxxxxxxxxxxxxx", 16);
  expect_refused(garbage, "magic is not CLKPGDIR");
  const Memory region;
  Region::create_in_memory(region.get(), image_of(kBoot));
  const std::uint32_t other_version = 2;
  region.put(8, &other_version, 2);
  expect_refused(region, "abi_major is 2");
  const Memory simulated;
  const Region mapped = Region::create_in_memory(simulated.get(), image_of(kBoot));
  for (clockpage_data_page* page : mapped.pages()) std::memcpy(page->diagnostics.source, "vvar", 5);
  expect_refused(simulated, "cannot continue", "sim");
}

}  // namespace
}  // namespace clockpage::producer
