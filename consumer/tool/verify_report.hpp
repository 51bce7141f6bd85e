// SPDX-License-Identifier: MIT
//
// What `clockpage verify` says.
#pragma once

#include <string>
#include <vector>

#include "exchange.hpp"
#include "page.hpp"
#include "recorder.hpp"
#include "stall_meter.hpp"

namespace clockpage::tool {

struct Outcome {
  ExchangeTally total;
  std::vector<Offence> offences;
  std::vector<Offence> disagreements;
  uint64_t late = 0;         // late publications during the run
  uint64_t late_max_ns = 0;  // of the producer's life
  int64_t min_margin_ns = 0;
  double seconds = 0;
  std::string record_file;  // empty: nothing was recorded
  Recorder::Summary recorded;
};

void print_verify_text(unsigned processes, const Page& page, const Outcome& outcome,
                       const StallReport& stalls);
void print_verify_json(unsigned processes, const Page& page, const Outcome& outcome,
                       const StallReport& stalls);
/// Throws Failure unless the run showed that leased reads are in order and agree.
void judge_verify(const Page& page, const Outcome& outcome);

}  // namespace clockpage::tool
