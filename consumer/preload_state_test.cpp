// SPDX-License-Identifier: MIT
// When a process reads the page and when the kernel: under ThreadSanitizer too, in which the
// library itself cannot be run.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "preload/preload.h"
#include "reader_test_page.h"

namespace {

using clockpage::testing::kSecond;
using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::TestPage;

constexpr std::uint64_t kHz = 2'000'000'000;

// What the state, which is a process's, looks like to a new process. Each test is run in a child.
class PreloadStateTest : public ::testing::Test {
 protected:
  PreloadStateTest() {
    const std::uint64_t now = clockpage_counter_ordered();
    page_.Slot(99) = MakeSegment(99, now - kHz, now, kHz);
    page_.Slot(100) =
        NextSegment(page_.Slot(99), std::uint64_t{1} << 55, page_.Slot(99).tai_period_frac);
    page_.page.index = 100;
  }

  // Exit code 0, and this on stderr.
  template <typename Body>
  void InProcess(Body body, const std::string& said) {
    EXPECT_EXIT(
        {
          preload_warnings_begin(false);
          errno = ENOTTY;
          const bool good = body();
          _exit(good && errno == ENOTTY ? 0 : 1);
        },
        ::testing::ExitedWithCode(0), said);
  }

  TestPage page_;
};

bool Read(int clock, timespec* ts) {
  switch (clock) {
    case CLOCKPAGE_TAI:
      return preload_read(CLOCKPAGE_TAI, ts);
    default:
      return preload_read(CLOCKPAGE_REALTIME, ts);
  }
}

void Revoke(TestPage& page) {
  __atomic_store_n(&page.page.revoked, CLOCKPAGE_REVOKED_NO + 1, __ATOMIC_RELEASE);
}

TEST_F(PreloadStateTest, SaysNothingBeforeItHasBegun) {
  InProcess(
      [] {
        timespec ts{1, 2};
        return !Read(CLOCKPAGE_REALTIME, &ts) && ts.tv_sec == 1 && ts.tv_nsec == 2;
      },
      "^$");
}

TEST_F(PreloadStateTest, ReadsThePage) {
  InProcess(
      [&] {
        const clockpage_reader reader = page_.Reader();
        preload_use_page(&reader);
        timespec ts{};
        std::int64_t before = 0, after = 0;
        clockpage_now(&reader, CLOCKPAGE_REALTIME, &before);
        if (!Read(CLOCKPAGE_REALTIME, &ts)) return false;
        clockpage_now(&reader, CLOCKPAGE_REALTIME, &after);
        const std::int64_t ns = ts.tv_sec * kSecond + ts.tv_nsec;
        return before <= ns && ns <= after;
      },
      "^$");
}

TEST_F(PreloadStateTest, SaysOnceWhyThereIsNoPage) {
  InProcess(
      [] {
        preload_use_kernel("the first reason");
        preload_use_kernel("another reason");
        timespec ts{};
        const bool first = Read(CLOCKPAGE_REALTIME, &ts);
        return !first && !Read(CLOCKPAGE_REALTIME, &ts);
      },
      "^libclockpage-preload: the first reason\n$");
}

TEST_F(PreloadStateTest, GivesUpARevokedPageForGood) {
  InProcess(
      [&] {
        const clockpage_reader reader = page_.Reader();
        preload_use_page(&reader);
        timespec ts{};
        const bool before = Read(CLOCKPAGE_REALTIME, &ts);
        Revoke(page_);
        const bool revoked = Read(CLOCKPAGE_REALTIME, &ts);
        page_.page.revoked = CLOCKPAGE_REVOKED_NO;
        return before && !revoked && !Read(CLOCKPAGE_REALTIME, &ts) && !preload_has_page();
      },
      "^libclockpage-preload: the page was revoked[^\n]*\n$");
}

TEST_F(PreloadStateTest, LeavesTaiAloneToTheKernelWhereThePageDoesNotKnowIt) {
  page_.Slot(99).flags = page_.Slot(100).flags = 0;
  InProcess(
      [&] {
        const clockpage_reader reader = page_.Reader();
        preload_use_page(&reader);
        timespec ts{};
        const bool first = Read(CLOCKPAGE_TAI, &ts);
        return !first && !Read(CLOCKPAGE_TAI, &ts) && Read(CLOCKPAGE_REALTIME, &ts);
      },
      "^libclockpage-preload: the page does not know TAI[^\n]*\n$");
}

// Its index names a slot that never says so, or ran ahead of all its history: no live writer's.
TEST_F(PreloadStateTest, GivesUpAPageThatCannotBeRead) {
  InProcess(
      [&] {
        const clockpage_reader reader = page_.Reader();
        preload_use_page(&reader);
        for (auto& slot : page_.page.segment)
          slot.start = slot.lease_end = clockpage_counter_ordered() + (std::uint64_t{1} << 60);
        timespec ts{};
        return !Read(CLOCKPAGE_REALTIME, &ts) && !preload_has_page();
      },
      "^libclockpage-preload: the page cannot be read[^\n]*\n$");
}

TEST_F(PreloadStateTest, ThreadsReadWhileThePageIsRevoked) {
  InProcess(
      [&] {
        const clockpage_reader reader = page_.Reader();
        std::atomic<int> reading{0};
        std::atomic<bool> wrong{false};
        std::vector<std::thread> threads;
        threads.reserve(4);
        for (int i = 0; i < 4; i++) {
          threads.emplace_back([&] {
            timespec ts{};
            while (!Read(CLOCKPAGE_REALTIME, &ts)) std::this_thread::yield();
            reading++;
            while (Read(CLOCKPAGE_REALTIME, &ts)) {
              if (ts.tv_nsec < 0 || ts.tv_nsec >= kSecond) wrong = true;
            }
            if (Read(CLOCKPAGE_REALTIME, &ts)) wrong = true;  // never back again
          });
        }
        preload_use_page(&reader);
        while (reading < 4) std::this_thread::yield();
        Revoke(page_);
        for (auto& thread : threads) thread.join();
        errno = ENOTTY;  // joining may have changed it
        return !wrong;
      },
      "^libclockpage-preload: the page was revoked[^\n]*\n$");
}

TEST_F(PreloadStateTest, DoesNotWriteToWhatHasTakenTheNumberOfStderr) {
  char name[] = "/tmp/preload_state_test.XXXXXX";
  const int file = mkstemp(name);
  ASSERT_GE(file, 0);
  InProcess(
      [&] {
        dup2(file, STDERR_FILENO);
        preload_use_kernel("unheard");
        timespec ts{};
        return !Read(CLOCKPAGE_REALTIME, &ts);
      },
      "^$");
  EXPECT_EQ(lseek(file, 0, SEEK_END), 0);
  close(file);
  unlink(name);
}

TEST_F(PreloadStateTest, SurvivesAReaderOfStderrThatHasGone) {
  InProcess(
      [] {
        int ends[2];
        if (pipe(ends) != 0) return false;
        dup2(ends[1], STDERR_FILENO);
        preload_warnings_begin(false);
        close(ends[0]);
        preload_warn("unheard");
        return true;
      },
      "^$");
}

TEST_F(PreloadStateTest, DoesNotWaitForAReaderOfStderr) {
  InProcess(
      [] {
        int ends[2];
        if (pipe(ends) != 0) return false;
        const std::string block(4096, 'x');
        dup2(ends[1], STDERR_FILENO);
        preload_warnings_begin(false);
        for (int i = 0; i < 16; i++)
          if (write(ends[1], block.data(), block.size()) != 4096) return false;
        alarm(20);
        preload_warn("unheard");
        return true;
      },
      "^$");
}

}  // namespace
