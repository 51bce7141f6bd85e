// SPDX-License-Identifier: MIT
// Another clockpage as a time source: for a guest that cannot hand its host's region through, and
// publishes one of its own. Spec section 5.5.1.
#pragma once

#include <clockpage/clockpage.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "counter.hpp"
#include "page_writer.hpp"
#include "time_source.hpp"

namespace clockpage::producer {

// Where the page is that is followed.
struct PagePlace {
  std::string directory;             // of its region
  std::string view;                  // path of a view file of that region; empty: none
  std::vector<std::string> parents;  // paths of that view's ancestors, nearest first
  bool guest = false;                // the region is another machine's
};

// From "DIR[,view=FILE[,parent=FILE]...][,guest]". Otherwise nothing, and *reason says why.
std::optional<PagePlace> parse_page_place(std::string_view text, std::string* reason);

// A page that is mapped. The readers are what they were made for when it was opened.
struct FollowedPage {
  std::shared_ptr<const void> mapping;        // keeps it
  clockpage_directory_page directory{};       // as it was then
  clockpage_reader reader{};                  // of its unscaled, unsmeared page; or
  std::optional<clockpage_view_reader> view;  // through this

  // Hz of the counter that is read here, by what the page says of its own.
  [[nodiscard]] std::uint64_t frequency_hz() const noexcept;
};

// Opens, maps and validates. Throws RegionError: file and reason, in one line.
FollowedPage open_page(const PagePlace& place);

// Who follows pages says so in its own, in diagnostics.source, so that a ring of producers each of
// which follows the next can be seen: how many pages the clock has come through, and the region
// where it comes from (the low 32 bits of its generation).
struct PageDescent {
  static constexpr unsigned kMostPages = 8;
  unsigned pages = 0;  // 0: followed no page
  std::uint32_t origin = 0;
  bool operator==(const PageDescent&) const = default;
};
PageDescent descent_of(const clockpage_data_page& page) noexcept;

class PageSource final : public TimeSource {
 public:
  using Open = std::function<FollowedPage()>;

  // Throws what `open` throws. `counter` is the one that the page, or the view, is for.
  PageSource(Open open, Counter& counter);
  ~PageSource() override;

  ObserveResult observe(Observation& observation) noexcept override;
  [[nodiscard]] std::string_view name() const noexcept override { return name_.data(); }
  [[nodiscard]] std::string description() const override;
  [[nodiscard]] std::string trouble() const override { return trouble_; }
  [[nodiscard]] std::uint64_t frequency_hz() const noexcept { return page_.frequency_hz(); }
  // Where the page is lost it is opened anew, which may have to wait for others. From now on a
  // thread does that: a publisher must not wait. Not before the process' last fork.
  void look_in_background();
  // The region that is published from what is read here. From then on a page that comes of that
  // one is not followed, and is trouble().
  void set_own_generation(std::uint64_t generation) noexcept;

 private:
  struct Reading;
  [[nodiscard]] ObserveResult try_to_observe(Observation& observation, bool& again);
  [[nodiscard]] ObserveResult renew_view();
  [[nodiscard]] ObserveResult judge(int error);
  [[nodiscard]] ObserveResult distrust(const char* why);
  [[nodiscard]] const clockpage_data_page& data() const noexcept;
  [[nodiscard]] int read(int clock, std::uint64_t counter, clockpage_time& time) const noexcept;
  [[nodiscard]] bool find_segments(std::uint64_t page_counter, Reading& reading) const noexcept;
  [[nodiscard]] bool fits(const Reading& reading) const noexcept;
  void fill(const Reading& reading, Observation& observation) const noexcept;
  void fill_lines(const Reading& reading, Observation& observation) const noexcept;
  [[nodiscard]] Period own_period(Period page_period) const noexcept;
  void look_for_descent() noexcept;
  void look_anew() noexcept;
  [[nodiscard]] ObserveResult take_anew();
  void open_anew() noexcept;
  void open_when_asked() noexcept;

  Open open_;
  Counter& counter_;
  FollowedPage page_;
  std::uint32_t own_origin_ = 0;
  bool own_known_ = false;
  PageDescent descent_;
  std::array<char, 16> name_{};
  std::string trouble_;
  bool want_anew_ = false;
  std::uint64_t tried_at_ = 0;  // counter
  std::thread opener_;          // made before memory is locked and time is short
  std::binary_semaphore asked_{0};
  std::atomic<bool> ending_ = false;
  enum class Opening { none, asked, done };
  std::atomic<Opening> opening_ = Opening::none;
  std::optional<FollowedPage> anew_;  // the opener's while it is asked
};

}  // namespace clockpage::producer
