// SPDX-License-Identifier: MIT
//
// Opening views: what the options and the environment name, their ancestors, time namespaces.
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "test_pages.hpp"

namespace clockpage::test {
namespace {

struct closer {
  void operator()(clockpage_region* region) const { clockpage_close(region); }
};
using region_handle = std::unique_ptr<clockpage_region, closer>;

constexpr std::int64_t shift_ns = -5'000'000'000;  // what the view "shifted" adds to BOOTTIME

// A region that can be read now, and a view of it with an offset that a page's reader cannot have.
class ViewOpenTest : public testing::Test {
 protected:
  ViewOpenTest() : path_(directory_.path().string()) {
    options_.size = sizeof(options_);
    options_.directory = path_.c_str();
    directory_.write(CLOCKPAGE_REGION_FILE, region_.bytes());
    view_.newest().boottime_offset_ns = shift_ns;
    write("shifted", view_);
    write("same", view_image());
  }
  ~ViewOpenTest() override {
    unsetenv(CLOCKPAGE_VIEW_VARIABLE);
    unsetenv(CLOCKPAGE_VIEW_PARENTS_VARIABLE);
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, view_image view) { directory_.write(name, view.bytes()); }
  static void set(const char* name, const std::string& value) { setenv(name, value.c_str(), 1); }

  region_handle open() {
    clockpage_region* region = nullptr;
    code_ = clockpage_open(&options_, &region, &error_);
    EXPECT_EQ(error_.code, code_);
    EXPECT_EQ(region != nullptr, code_ == CLOCKPAGE_OK);
    return region_handle(region);
  }
  void expect_refusal(int code, const std::string& line) {
    EXPECT_FALSE(open());
    EXPECT_EQ(code_, code);
    EXPECT_EQ(std::string(error_.where), line);
  }
  // Whether what has been opened is read through the view "shifted".
  static bool is_shifted(const region_handle& region) {
    std::int64_t page_ns = 0, ns = 0;
    EXPECT_EQ(clockpage_now(clockpage_reader_of(region.get()), CLOCKPAGE_BOOTTIME, &page_ns), 0);
    EXPECT_EQ(clockpage_read_ns(region.get(), CLOCKPAGE_BOOTTIME, &ns), CLOCKPAGE_OK);
    const bool shifted = ns < page_ns + shift_ns / 2;
    EXPECT_EQ(shifted, clockpage_view_reader_of(region.get()) != nullptr &&
                           clockpage_view_reader_of(region.get())->boottime_offset_ns != 0);
    return shifted;
  }

  temporary_directory directory_;
  std::string path_;
  region_image region_{live_plan()};
  view_image view_;
  clockpage_open_options options_{};
  clockpage_open_error error_{};
  int code_ = 0;
};

// ---- the environment

TEST_F(ViewOpenTest, TakesTheViewFromTheEnvironmentWhereTheOptionsNameNone) {
  set(CLOCKPAGE_VIEW_VARIABLE, file("shifted"));
  options_.flags = CLOCKPAGE_OPEN_VIEW | CLOCKPAGE_OPEN_GUEST;
  region_handle region = open();
  ASSERT_TRUE(region) << error_.where;
  EXPECT_TRUE(is_shifted(region));
  options_.view = nullptr;
  const std::string same = file("same");
  options_.view = same.c_str();
  region = open();
  ASSERT_TRUE(region) << error_.where;
  EXPECT_FALSE(is_shifted(region));
  options_.view = nullptr;
  set(CLOCKPAGE_VIEW_VARIABLE, "");
  region = open();
  ASSERT_TRUE(region) << error_.where;
  EXPECT_EQ(clockpage_view_reader_of(region.get()), nullptr);
}

// On the kernel that the region is of there is one view that is right, and the caller did not say
// that it means another.
TEST_F(ViewOpenTest, RefusesTheEnvironmentsViewWhereItIsNotTheNamespacesThatThisProcessIsIn) {
  const std::string begin =
      file("shifted") + ": $CLOCKPAGE_VIEW is not the view of this process's time namespace: ";
  const std::string path = file("shifted");
  const auto expect_only_explicit = [&](const std::string& reason) {
    write("shifted", view_);
    set(CLOCKPAGE_VIEW_VARIABLE, path);
    options_.flags = CLOCKPAGE_OPEN_VIEW;
    options_.view = nullptr;
    expect_refusal(CLOCKPAGE_E_VIEW, begin + reason);
    options_.flags = CLOCKPAGE_OPEN_VIEW | CLOCKPAGE_OPEN_GUEST;
    EXPECT_TRUE(open()) << error_.where;
    options_.flags = CLOCKPAGE_OPEN_VIEW;
    options_.view = path.c_str();
    EXPECT_TRUE(open()) << error_.where;
  };
  expect_only_explicit(
      "MONOTONIC +0 ns, BOOTTIME -5000000000 ns; the namespace's are +0 ns, +0 ns");
  view_.newest().boottime_offset_ns = 0;
  view_.newest().monotonic_offset_ns = 1;
  expect_only_explicit("MONOTONIC +1 ns, BOOTTIME +0 ns; the namespace's are +0 ns, +0 ns");
  view_.newest().monotonic_offset_ns = 0;
  view_.newest().counter_offset = -1;
  expect_only_explicit("its counter is not this kernel's (offset -1, ratio 1 / 2^0)");
  view_.newest().counter_offset = 0;
  view_.newest().counter_frac_bits = 32;
  view_.newest().counter_ratio = (std::uint64_t{1} << 32) + 1;
  expect_only_explicit("its counter is not this kernel's (offset 0, ratio 4294967297 / 2^32)");
  view_.newest().counter_ratio = std::uint64_t{1} << 32;
  view_.newest().smear = 1;  // which page it is, is the view's choice
  write("shifted", view_);
  options_.view = nullptr;
  EXPECT_TRUE(open()) << error_.where;
}

// Never the host's clock in its place.
TEST_F(ViewOpenTest, RefusesTheEnvironmentsViewToACallerThatReadsThePage) {
  set(CLOCKPAGE_VIEW_VARIABLE, file("shifted"));
  expect_refusal(CLOCKPAGE_E_VIEW,
                 file("shifted") +
                     ": only a reader of views can read through it: boottime_offset_ns is not 0");
  set(CLOCKPAGE_VIEW_VARIABLE, file("none"));
  expect_refusal(CLOCKPAGE_E_SYSTEM, file("none") + ": open: No such file or directory");
  set(CLOCKPAGE_VIEW_VARIABLE, file("same"));
  EXPECT_TRUE(open()) << error_.where;
}

TEST_F(ViewOpenTest, ACallerThatMeansTheHostsClocksDoesNotLookAtTheEnvironment) {
  set(CLOCKPAGE_VIEW_VARIABLE, file("none"));
  set(CLOCKPAGE_VIEW_PARENTS_VARIABLE, ":::");
  options_.flags = CLOCKPAGE_OPEN_HOST_CLOCKS;
  const region_handle region = open();
  ASSERT_TRUE(region) << error_.where;
  EXPECT_EQ(clockpage_view_reader_of(region.get()), nullptr);
  const std::string view = file("same");
  options_.view = view.c_str();
  expect_refusal(CLOCKPAGE_E_ARGUMENT, "options.view is set beside CLOCKPAGE_OPEN_HOST_CLOCKS");
}

TEST_F(ViewOpenTest, TakesTheViewFromTheEnvironmentBesideADescriptorToo) {
  set(CLOCKPAGE_VIEW_VARIABLE, file("shifted"));
  options_.directory = nullptr;
  options_.flags = CLOCKPAGE_OPEN_VIEW | CLOCKPAGE_OPEN_GUEST;
  const int descriptor = ::open(file(CLOCKPAGE_REGION_FILE).c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(descriptor, 0);
  clockpage_region* opened = nullptr;
  EXPECT_EQ(clockpage_open_fd(descriptor, &options_, &opened, &error_), CLOCKPAGE_OK)
      << error_.where;
  const region_handle region(opened);
  EXPECT_TRUE(is_shifted(region));
  options_.directory = path_.c_str();
  options_.size = offsetof(clockpage_open_options, parents);
  EXPECT_EQ(clockpage_open_fd(descriptor, &options_, &opened, &error_), CLOCKPAGE_E_ARGUMENT);
  EXPECT_STREQ(error_.where, "options.directory is set beside a descriptor");
  close(descriptor);
}

// ---- versions of the options

TEST_F(ViewOpenTest, AcceptsOptionsOfBothSizesAndNoOther) {
  constexpr std::size_t first = offsetof(clockpage_open_options, parents);
  static_assert(first == 2 * sizeof(size_t) + sizeof(char*) + 8);
  const std::string view = file("shifted");
  options_.view = view.c_str();
  options_.flags = CLOCKPAGE_OPEN_VIEW;
  options_.size = first;
  options_.parents[0] = reinterpret_cast<const char*>(8);  // not the caller's: not to be looked at
  EXPECT_TRUE(is_shifted(open())) << error_.where;
  options_.parents[0] = nullptr;
  for (std::size_t size = 0; size < 2 * sizeof(options_); size++) {
    options_.size = size;
    if (size == first || size == sizeof(options_)) {
      EXPECT_TRUE(open()) << error_.where;
    } else {
      expect_refusal(CLOCKPAGE_E_ARGUMENT, "options.size is " + std::to_string(size) + ", not " +
                                               std::to_string(sizeof(options_)) + " or " +
                                               std::to_string(first));
    }
  }
}

// ---- withdrawn

TEST_F(ViewOpenTest, SaysThatTheHostHasWithdrawnAView) {
  view_.newest().counter_ratio = 0;
  write("shifted", view_);
  const std::string view = file("shifted");
  options_.view = view.c_str();
  const std::string line =
      view +
      ": withdrawn by the host: how this counter comes of the host's is not known at present";
  expect_refusal(CLOCKPAGE_E_VIEW, line);
  options_.flags = CLOCKPAGE_OPEN_VIEW;
  expect_refusal(CLOCKPAGE_E_VIEW, line);
}

// ---- ancestors

class AncestorOpenTest : public ViewOpenTest {
 protected:
  AncestorOpenTest() {
    options_.flags = CLOCKPAGE_OPEN_VIEW;
    options_.view = view_path_.c_str();
    link();
  }
  // view_ <- parents_[0] <- parents_[1] <- parents_[2]
  void link() {
    for (std::size_t i = 0; i < 3; i++) {
      parents_[i].page().index = 0x1000 * (i + 1);
      parents_[i].newest() = {};
      parents_[i].newest().number = parents_[i].page().index;
      parents_[i].newest().counter_ratio = 1;
    }
    view_.newest().parent_generation = parents_[0].page().index;
    parents_[0].newest().parent_generation = parents_[1].page().index;
    parents_[1].newest().parent_generation = parents_[2].page().index;
    write_all();
  }
  void write_all() {
    write("shifted", view_);
    for (std::size_t i = 0; i < 3; i++) write(names_[i], parents_[i]);
  }
  void name_parents(std::size_t count) {
    for (std::size_t i = 0; i < 3; i++)
      options_.parents[i] = i < count ? paths_[i].c_str() : nullptr;
  }

  std::array<view_image, 3> parents_;
  const std::array<std::string, 3> names_ = {"parent", "grandparent", "great-grandparent"};
  const std::array<std::string, 3> paths_ = {file(names_[0]), file(names_[1]), file(names_[2])};
  const std::string view_path_ = file("shifted");
};

TEST_F(AncestorOpenTest, OpensThemWithTheView) {
  name_parents(3);
  const region_handle region = open();
  ASSERT_TRUE(region) << error_.where;
  EXPECT_TRUE(is_shifted(region));
  EXPECT_EQ(clockpage_view_reader_of(region.get())->depth, 3u);
}

TEST_F(AncestorOpenTest, TakesThemFromTheEnvironmentWithItsView) {
  set(CLOCKPAGE_VIEW_VARIABLE, view_path_);
  set(CLOCKPAGE_VIEW_PARENTS_VARIABLE, paths_[0] + ":" + paths_[1] + ":" + paths_[2]);
  options_.view = nullptr;
  options_.flags |= CLOCKPAGE_OPEN_GUEST;
  EXPECT_TRUE(is_shifted(open())) << error_.where;
  // They are that view's, not another one's.
  options_.view = view_path_.c_str();
  expect_refusal(CLOCKPAGE_E_VIEW, view_path_ +
                                       ": it is composed from another view: name that too "
                                       "(options.parents, $CLOCKPAGE_VIEW_PARENTS)");
  options_.view = nullptr;
  for (const std::string& wrong :
       {":" + paths_[0], paths_[0] + ":", paths_[0] + "::" + paths_[1], std::string(":")}) {
    set(CLOCKPAGE_VIEW_PARENTS_VARIABLE, wrong);
    EXPECT_FALSE(open());
    EXPECT_EQ(code_, CLOCKPAGE_E_ARGUMENT);
    EXPECT_NE(std::string(error_.where).find("$CLOCKPAGE_VIEW_PARENTS has an empty entry"),
              std::string::npos)
        << error_.where;
  }
  set(CLOCKPAGE_VIEW_PARENTS_VARIABLE, "a:b:c:d");
  expect_refusal(CLOCKPAGE_E_ARGUMENT, "$CLOCKPAGE_VIEW_PARENTS names more than 3 views");
}

TEST_F(AncestorOpenTest, RefusesAViewWhoseAncestorsWereNotAllGiven) {
  for (const std::size_t given : {0, 1, 2}) {
    name_parents(given);
    expect_refusal(CLOCKPAGE_E_VIEW, view_path_ +
                                         ": it is composed from another view: name that too "
                                         "(options.parents, $CLOCKPAGE_VIEW_PARENTS)");
  }
  options_.flags = 0;
  name_parents(3);
  view_.newest().boottime_offset_ns = 0;
  write_all();
  expect_refusal(CLOCKPAGE_E_VIEW, view_path_ +
                                       ": only a reader of views can read through it: it is "
                                       "composed from another view");
}

TEST_F(AncestorOpenTest, RefusesAParentThatHasChangedOrIsAnother) {
  name_parents(3);
  const std::string line = view_path_ +
                           ": a view that it is composed from has changed, or is not its parent: "
                           "it has to be composed anew";
  parents_[1].page().index++;
  parents_[1].newest() = parents_[1].page().slot[(parents_[1].page().index - 1) % 4];
  parents_[1].newest().number++;
  write_all();
  expect_refusal(CLOCKPAGE_E_DISRUPTED, line);
  link();
  options_.parents[0] = paths_[2].c_str();
  expect_refusal(CLOCKPAGE_E_DISRUPTED, line);
}

TEST_F(AncestorOpenTest, NamesTheAncestorThatIsNoView) {
  name_parents(3);
  directory_.write(names_[1], std::vector<std::byte>(4096));
  expect_refusal(CLOCKPAGE_E_MAGIC, paths_[1] + ": magic is not CLKPGVEW");
  directory_.write(names_[1], std::vector<std::byte>(100));
  expect_refusal(CLOCKPAGE_E_SIZE, paths_[1] + ": size is 100 bytes, not 4096");
  write(names_[1], view_image(region_plan{}.generation + 1));
  expect_refusal(CLOCKPAGE_E_STALE, paths_[1] + ": generation is not the region's");
  options_.flags |= CLOCKPAGE_OPEN_SEALED;
  EXPECT_FALSE(open());
  EXPECT_EQ(code_, CLOCKPAGE_E_UNSEALED);
}

TEST_F(AncestorOpenTest, RefusesImpossibleParents) {
  options_.parents[1] = paths_[0].c_str();
  expect_refusal(CLOCKPAGE_E_ARGUMENT, "options.parents has an empty entry");
  options_.parents[0] = "";
  expect_refusal(CLOCKPAGE_E_ARGUMENT, "options.parents has an empty entry");
  options_.view = nullptr;
  expect_refusal(CLOCKPAGE_E_ARGUMENT, "options.parents is set without options.view");
  options_.view = "";
  expect_refusal(CLOCKPAGE_E_ARGUMENT, "options.view is empty");
}

// ---- time namespaces

// Runs `body` in a child that is in a time namespace of its own; what it returns, or 77.
int in_time_namespace(const char* offsets, const std::function<int()>& body) {
  const pid_t outer = fork();
  if (outer == 0) {
    if (unshare(CLONE_NEWTIME) != 0) _exit(77);
    std::ofstream file("/proc/self/timens_offsets");
    file << offsets;
    if (!file.flush()) _exit(77);
    const pid_t inner = fork();
    if (inner == 0) _exit(body());
    int status = 0;
    waitpid(inner, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 76);
  }
  int status = 0;
  waitpid(outer, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 76;
}

class TimeNamespaceOpenTest : public ViewOpenTest {
 protected:
  // The code of opening with these flags and view, as an exit code; 75: another line than expected.
  int open_in(const char* offsets, std::uint32_t flags, const char* view = nullptr) {
    return in_time_namespace(offsets, [&] {
      options_.flags = flags;
      options_.view = view;
      clockpage_region* region = nullptr;
      const int code = clockpage_open(&options_, &region, &error_);
      if (code == CLOCKPAGE_E_VIEW &&
          std::string(error_.where) !=
              file(CLOCKPAGE_REGION_FILE) +
                  ": this process's time namespace has offsets, so it needs a view of its own "
                  "(clockpage timens, $CLOCKPAGE_VIEW): these are the host's clocks") {
        return 75;
      }
      return -code;
    });
  }
};

TEST_F(TimeNamespaceOpenTest, RefusesTheHostsClocksWhereTheyAreNotTheCallers) {
  constexpr char offsets[] = "monotonic 1000 0\n";
  const int code = open_in(offsets, 0);
  if (code == 77) GTEST_SKIP() << "needs CAP_SYS_TIME and time namespaces";
  EXPECT_EQ(code, -CLOCKPAGE_E_VIEW);
  EXPECT_EQ(open_in("boottime 0 1\n", 0), -CLOCKPAGE_E_VIEW);
  EXPECT_EQ(open_in(offsets, CLOCKPAGE_OPEN_VIEW), -CLOCKPAGE_E_VIEW);
  EXPECT_EQ(open_in(offsets, CLOCKPAGE_OPEN_HOST_CLOCKS), 0);
  EXPECT_EQ(open_in(offsets, CLOCKPAGE_OPEN_GUEST), 0);
  const std::string view = file("shifted");
  EXPECT_EQ(open_in(offsets, CLOCKPAGE_OPEN_VIEW, view.c_str()), 0);
  EXPECT_EQ(open_in("monotonic 0 0\n", 0), 0);  // a namespace without offsets has the host's clocks
}

TEST_F(TimeNamespaceOpenTest, TakesItsOwnViewFromTheEnvironmentAndNoOther) {
  // Nothing is asked of the line but that it is another one.
  const auto code_in = [&](const char* offsets, std::uint32_t flags) {
    const int code = open_in(offsets, flags);
    return code == 75 ? -CLOCKPAGE_E_VIEW : code;
  };
  constexpr char own[] = "boottime -5 0\n";
  set(CLOCKPAGE_VIEW_VARIABLE, file("shifted"));
  const int code = code_in(own, CLOCKPAGE_OPEN_VIEW);
  if (code == 77) GTEST_SKIP() << "needs CAP_SYS_TIME and time namespaces";
  EXPECT_EQ(code, 0);
  for (const char* other :
       {"boottime -5 1\n", "boottime -5 0\nmonotonic 0 1\n", "boottime 0 0\n"}) {
    EXPECT_EQ(code_in(other, CLOCKPAGE_OPEN_VIEW), -CLOCKPAGE_E_VIEW) << other;
    EXPECT_EQ(code_in(other, CLOCKPAGE_OPEN_VIEW | CLOCKPAGE_OPEN_GUEST), 0) << other;
  }
  // Nor does a page's own reader do in a namespace with offsets, whatever the view says.
  set(CLOCKPAGE_VIEW_VARIABLE, file("same"));
  EXPECT_EQ(code_in(own, 0), -CLOCKPAGE_E_VIEW);
  EXPECT_EQ(code_in("boottime 0 0\n", 0), 0);
}

}  // namespace
}  // namespace clockpage::test
