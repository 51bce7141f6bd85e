// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kernel_clock.hpp"
#include "timens_offsets.hpp"

namespace clockpage::tool {

/// What the kernel's clock said at one counter value.
struct KernelSample {
  uint64_t counter = 0;
  int64_t ns = 0;
  uint64_t window_ticks = 0;  ///< 0: exact; else ns belongs somewhere within +- half of this
};

/// The other side of every comparison: the host kernel's clock at a counter value. Exact through
/// the kernel's own mapping ("vvar"), or else between two counter readings ("bracket").
class KernelSide {
 public:
  enum class Whose { kHosts, kOwn };  ///< of the host, or of the time namespace we are in

  /// Proves the mapping, unless force_bracket. Takes tens of ms. Throws Failure where the time
  /// namespace's offsets are needed and cannot be told.
  static KernelSide choose(bool force_bracket, Whose whose = Whose::kHosts);

  std::string name() const { return exact_ ? "vvar" : "bracket"; }
  /// The layout of the kernel's data, or why it is not used.
  const std::string& detail() const { return detail_; }
  bool exact() const { return exact_.has_value(); }

  /// A fresh counter value, and the kernel's `clock` (a clockid_t), as asked for, at it. nullopt:
  /// not this time, try again.
  std::optional<KernelSample> sample(int clock) const;

 private:
  std::optional<KernelSample> sample_exact(int clock) const;
  static std::optional<KernelSample> sample_bracket(int clock);
  void choose_offsets(Whose whose);

  std::optional<KernelClock> exact_;
  std::string detail_;
  TimensOffsets added_;  // to what is read
};

}  // namespace clockpage::tool
