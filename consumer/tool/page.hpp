// SPDX-License-Identifier: MIT
#pragma once

#include <clockpage/clockpage.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "smear.hpp"
#include "view_options.hpp"

namespace clockpage::tool {

/// A consistent copy of the newest segment, and a counter value read right after the index.
struct NewestSegment {
  uint64_t index = 0;
  uint64_t counter = 0;
  uint64_t revoked = 0;
  clockpage_segment segment = {};
  /// lease_end - counter, ns; negative: overdue by that much.
  int64_t lease_margin_ns = 0;
};

/// The region of one directory, mapped read-only: what every subcommand begins with. The time is
/// read through the unsmeared pages, or the smeared ones, or through a view. Constant once open:
/// threads may share it.
class Page {
 public:
  /// The host's clocks, whatever the environment says. Throws Failure with the library's line. From
  /// here on the process explains a file that is truncated while it is mapped, and exits 1.
  static Page open(const std::string& directory, bool smeared = false);
  /// Through the view that the options or the environment name; `smeared` is for where they name
  /// none. A time namespace with offsets is refused then, unless host_clocks.
  static Page open(const std::string& directory, const ViewOptions& view, bool smeared,
                   bool host_clocks);

  const std::string& file() const { return file_; }
  /// Nobody can truncate it under us.
  bool sealed() const { return sealed_; }
  const clockpage_directory_page& directory() const { return *directory_; }
  const clockpage_reader& unscaled() const { return reader(CLOCKPAGE_FORMAT_UNSCALED, smeared_); }
  /// Input: scaled_counter(). Not meant for `now` on a host.
  const clockpage_reader& scaled() const { return reader(CLOCKPAGE_FORMAT_SCALED, smeared_); }
  const clockpage_data_page& data() const { return *unscaled().page; }
  /// Each of the four.
  const clockpage_reader& reader(uint8_t format, bool smeared) const {
    return readers_[(format == CLOCKPAGE_FORMAT_SCALED ? 2U : 0U) + (smeared ? 1U : 0U)];
  }
  /// What the page says of its smear; of a hostile one any numbers.
  Smear smear(bool smeared) const;
  Smear smear() const { return smear(smeared_); }

  /// The scaled page's counter at this moment, ordered after earlier loads.
  uint64_t scaled_counter() const { return scaled_counter(clockpage_counter_ordered()); }
  /// And at host counter value `counter`.
  uint64_t scaled_counter(uint64_t counter) const {
    return clockpage_scale_counter(counter, scale_ratio_, scale_frac_bits_);
  }

  /// Host counter ticks in ns, nominally; signed, saturates.
  int64_t ticks_to_ns(int64_t ticks) const;
  NewestSegment newest() const { return newest(smeared_); }
  /// Of the unscaled page that is smeared, or not.
  NewestSegment newest(bool smeared) const;
  /// The producer's words about itself; not consistent with each other.
  clockpage_diagnostics diagnostics() const;
  /// The view; without one, what says "view" below must not be asked for.
  bool has_view() const { return view_ != nullptr; }
  const std::string& view_file() const { return view_file_; }
  /// Fills `reader` for the view as it is now. Returns 0 or CLOCKPAGE_E_*.
  int current_view(clockpage_view_reader& reader) const;
  bool is_smeared(const clockpage_data_page& page) const {
    return &page == this->reader(CLOCKPAGE_FORMAT_UNSCALED, true).page ||
           &page == this->reader(CLOCKPAGE_FORMAT_SCALED, true).page;
  }
  /// The time when the host's counter was `counter`: as clockpage_at_bounds, through the view where
  /// there is one, by what its guest's counter was then.
  int at_bounds(int clock, uint64_t counter, clockpage_time& time) const;

  /// Name of the time source, without padding; whatever is no printable ASCII becomes '?'.
  std::string source() const;
  /// Throws Failure unless the source is the kernel's clock.
  void require_kernel_source(const std::string& why) const;

 private:
  Page() = default;
  static Page open(clockpage_open_options options, const std::string& directory, bool smeared);

  struct Close {
    void operator()(clockpage_region* region) const { clockpage_close(region); }
  };
  std::unique_ptr<clockpage_region, Close> region_;
  std::string file_;
  std::string view_file_;
  const clockpage_view_reader* view_ = nullptr;
  bool sealed_ = false;
  const clockpage_directory_page* directory_ = nullptr;
  bool smeared_ = false;
  std::array<clockpage_reader, CLOCKPAGE_DATA_PAGE_COUNT> readers_ = {};
  uint64_t scale_ratio_ = 1;
  uint8_t scale_frac_bits_ = 0;
  uint64_t frequency_hz_ = 1;
};

/// For exit code 3: prints one line and returns kNotSynchronised unless `status` is synchronised.
int require_synchronised(const Page& page, uint8_t status, uint8_t reason, bool overdue);

}  // namespace clockpage::tool
