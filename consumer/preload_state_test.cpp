// SPDX-License-Identifier: MIT
// When a process reads the page and when the kernel: under ThreadSanitizer too, in which the
// library itself cannot be run.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "preload/preload.h"
#include "reader_test_page.h"
#include "view_test_pages.h"

namespace {

using clockpage::testing::kSecond;
using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::TestPage;
using clockpage::testing::TestRegion;
using clockpage::testing::TestView;

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

// A live-looking region, and a view of it.
class PreloadViewTest : public PreloadStateTest {
 protected:
  PreloadViewTest() {
    const std::uint64_t now = clockpage_counter_ordered();
    TestPage& page = region_.Page(CLOCKPAGE_FORMAT_UNSCALED, 0);
    page.Slot(99) = MakeSegment(99, now - kHz, now, kHz);
    page.Slot(100) =
        NextSegment(page.Slot(99), std::uint64_t{1} << 55, page.Slot(99).tai_period_frac);
    page.page.index = 100;
    page_reader_ = page.Reader();
  }

  template <typename Change>
  void Publish(Change change) {
    clockpage_view_slot slot = view_.Newest();
    slot.number++;
    change(slot);
    // As a writer does, word by word: readers may be at it.
    std::array<std::uint64_t, sizeof slot / 8> words;
    std::memcpy(words.data(), &slot, sizeof slot);
    auto* to =
        reinterpret_cast<std::uint64_t*>(&view_.page.slot[slot.number % CLOCKPAGE_VIEW_SLOT_COUNT]);
    for (std::size_t i = 0; i < words.size(); i++)
      __atomic_store_n(&to[i], words[i], __ATOMIC_RELAXED);
    __atomic_store_n(&view_.page.index, slot.number, __ATOMIC_RELEASE);
  }
  void Offset(std::int64_t monotonic_ns) {
    Publish([&](clockpage_view_slot& slot) { slot.monotonic_offset_ns = monotonic_ns; });
  }
  bool Use(preload_expected expected = {0, 0, 0}) {
    const clockpage_view_reader reader = view_.Reader(region_);
    return preload_use_view(&reader, &expected);
  }
  // Whether the process's MONOTONIC is the page's plus this.
  bool IsOffBy(std::int64_t offset_ns) {
    std::int64_t before = 0, after = 0;
    timespec ts{};
    clockpage_now(&page_reader_, CLOCKPAGE_MONOTONIC, &before);
    if (!preload_read(CLOCKPAGE_MONOTONIC, &ts)) return false;
    clockpage_now(&page_reader_, CLOCKPAGE_MONOTONIC, &after);
    const std::int64_t ns = ts.tv_sec * kSecond + ts.tv_nsec - offset_ns;
    return before <= ns && ns <= after;
  }
  static bool IsKernels() {
    timespec ts{};
    return !preload_read(CLOCKPAGE_MONOTONIC, &ts) && !preload_has_page();
  }

  TestRegion region_{kHz};
  TestView view_;
  clockpage_reader page_reader_;
};

constexpr std::int64_t kFar = 1000 * kSecond;

TEST_F(PreloadViewTest, ReadsThroughTheView) {
  Offset(kFar);
  InProcess([&] { return Use() && preload_has_page() && IsOffBy(kFar); }, "^$");
}

TEST_F(PreloadViewTest, TakesTheViewOfItsOwnTimeNamespaceOnly) {
  Offset(kFar);
  InProcess(
      [&] {
        if (Use({1, 0, 0}) || Use({1, kFar, 1}) || Use({1, kFar + 1, 0}) || preload_has_page())
          return false;
        return Use({1, kFar, 0}) && IsOffBy(kFar);
      },
      "^$");
}

// The page is of this kernel, so its counter is the one that this process reads.
TEST_F(PreloadViewTest, TakesNoGuestsViewForItsTimeNamespaces) {
  Publish([](clockpage_view_slot& slot) { slot.counter_offset = 1; });
  InProcess([&] { return !Use({1, 0, 0}) && Use({0, 0, 0}); }, "^$");
}

// More often than there are readers in store.
TEST_F(PreloadViewTest, FollowsAViewThatChangesForEver) {
  InProcess(
      [&] {
        if (!Use()) return false;
        for (int i = 1; i <= 1000; i++) {
          Offset(i % 2 ? i * kFar : -i * kSecond);
          for (int again = 0; again < 3; again++)
            if (!IsOffBy(i % 2 ? i * kFar : -i * kSecond)) return false;
        }
        return true;
      },
      "^$");
}

TEST_F(PreloadViewTest, AViewThatBecomesAnothersIsGivenUpForGood) {
  Offset(kFar);
  InProcess(
      [&] {
        if (!Use({1, kFar, 0}) || !IsOffBy(kFar)) return false;
        Offset(kFar + 1);
        if (!IsKernels()) return false;
        Offset(kFar);
        return IsKernels();
      },
      "^libclockpage-preload: the view is not this time namespace's any more[^\n]*\n$");
}

TEST_F(PreloadViewTest, AChangeOfSmearIsFollowed) {
  region_.Page(CLOCKPAGE_FORMAT_UNSCALED, 1) = region_.Page(CLOCKPAGE_FORMAT_UNSCALED, 0);
  for (auto& segment : region_.Page(CLOCKPAGE_FORMAT_UNSCALED, 1).page.segment)
    segment.monotonic_offset_ns -= kFar;  // so that it can be told from the other
  InProcess(
      [&] {
        if (!Use({1, 0, 0}) || !IsOffBy(0)) return false;
        Publish([](clockpage_view_slot& slot) { slot.smear = 1; });
        return IsOffBy(kFar) && IsOffBy(kFar);
      },
      "^$");
}

TEST_F(PreloadViewTest, AWithdrawnViewIsGivenUpForGood) {
  InProcess(
      [&] {
        if (!Use()) return false;
        Publish([](clockpage_view_slot& slot) { slot.counter_ratio = 0; });
        if (!IsKernels()) return false;
        Publish([](clockpage_view_slot& slot) { slot.counter_ratio = 1; });
        return IsKernels();
      },
      "^libclockpage-preload: the view was withdrawn[^\n]*\n$");
}

TEST_F(PreloadViewTest, AViewWhoseParentHasChangedIsGivenUpForGood) {
  clockpage::testing::TestChain chain(1);
  InProcess(
      [&] {
        const clockpage_view_reader reader = chain.Reader(region_);
        const preload_expected anything = {0, 0, 0};
        timespec ts{};
        if (!preload_use_view(&reader, &anything) || !preload_read(CLOCKPAGE_MONOTONIC, &ts))
          return false;
        chain.Publish(1);
        return IsKernels();
      },
      "^libclockpage-preload: the view that this one was composed from has changed[^\n]*\n$");
}

TEST_F(PreloadViewTest, ARevokedPageIsGivenUpThroughAViewToo) {
  InProcess(
      [&] {
        if (!Use() || !IsOffBy(0)) return false;
        Revoke(region_.Page(CLOCKPAGE_FORMAT_UNSCALED, 0));
        return IsKernels();
      },
      "^libclockpage-preload: the page was revoked[^\n]*\n$");
}

TEST_F(PreloadViewTest, LeavesTaiAloneToTheKernelWhereThePageDoesNotKnowIt) {
  TestPage& page = region_.Page(CLOCKPAGE_FORMAT_UNSCALED, 0);
  page.Slot(99).flags = page.Slot(100).flags = 0;
  InProcess(
      [&] {
        timespec ts{};
        return Use() && !Read(CLOCKPAGE_TAI, &ts) && Read(CLOCKPAGE_REALTIME, &ts) && IsOffBy(0);
      },
      "^libclockpage-preload: the page does not know TAI[^\n]*\n$");
}

// A number that is 0, or the same again, is no live writer's: whatever becomes of the time.
TEST_F(PreloadViewTest, SurvivesAViewWhoseNumbersAreNotOnesThatAWriterGives) {
  InProcess(
      [&] {
        for (auto& slot : view_.page.slot) {
          slot = view_.Newest();
          slot.number = 0;
        }
        view_.page.index = 0;
        if (!Use() || !IsOffBy(0)) return false;
        view_.page.index = ~std::uint64_t{0};
        return IsKernels();
      },
      "^libclockpage-preload: the page cannot be read[^\n]*\n$");
}

TEST_F(PreloadViewTest, ThreadsFollowAViewThatChangesUnderThem) {
  InProcess(
      [&] {
        if (!Use()) return false;
        std::atomic<bool> stop{false}, wrong{false};
        std::vector<std::thread> threads;
        threads.reserve(4);
        for (int i = 0; i < 4; i++) {
          threads.emplace_back([&] {
            while (!stop) {
              std::int64_t page = 0;
              timespec ts{};
              clockpage_now(&page_reader_, CLOCKPAGE_MONOTONIC, &page);
              if (!preload_read(CLOCKPAGE_MONOTONIC, &ts)) wrong = true;
              // One of the two offsets, and nothing between them.
              const std::int64_t off = ts.tv_sec * kSecond + ts.tv_nsec - page;
              if (off < 0 || off % kFar > 100 * kSecond || off / kFar > 1) wrong = true;
            }
          });
        }
        for (int i = 0; i < 100; i++) {
          Offset(i % 2 * kFar);
          std::this_thread::yield();
        }
        stop = true;
        for (auto& thread : threads) thread.join();
        errno = ENOTTY;
        return !wrong && IsOffBy(kFar);
      },
      "^$");
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
