// SPDX-License-Identifier: MIT
// Says what changes in what is published; the pages themselves say how it is.
#pragma once

#include "options.hpp"
#include "publisher.hpp"

namespace clockpage::producer {

class ChangeReporter {
 public:
  ChangeReporter(const Options& options, const Publisher& publisher)
      : options_(options), publisher_(publisher) {}
  // After each steering publication.
  void report();

 private:
  static constexpr unsigned kBelieved = 100;  // publications for which a contradiction must last

  void report_step(const Terms& now) const;
  void report_tai(const Terms& now, const UtcKnowledge& known) const;
  void report_leap(const Terms& now, const UtcKnowledge& known);
  void report_contradiction(const Terms& now_terms, const UtcKnowledge& known);

  const Options& options_;
  const Publisher& publisher_;
  Terms last_;
  bool known_ = false;
  std::optional<LeapSecond> announced_;
  std::optional<LeapSecond> host_in_smear_of_;
  std::optional<std::int64_t> contradicted_;  // the table's offset, s
  unsigned contradictions_ = 0;               // publications since
};

}  // namespace clockpage::producer
