// SPDX-License-Identifier: MIT
#include "page_table.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "format.hpp"
#include "utc_time.hpp"

namespace clockpage::tool {
namespace {

constexpr std::array<const char*, 2> kFormats = {"unscaled", "scaled"};

int64_t difference(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}

}  // namespace

PageTable PageTable::of(const Page& page, uint64_t host_counter) {
  PageTable table;
  table.smear_ = page.smear(true);
  for (uint8_t format = 0; format < 2; format++)
    for (const bool smeared : {false, true}) {
      Cell& cell = table.cells_[format][smeared ? 1 : 0];
      const uint64_t counter =
          format == CLOCKPAGE_FORMAT_SCALED ? page.scaled_counter(host_counter) : host_counter;
      cell.error = clockpage_at_bounds(&page.reader(format, smeared), CLOCKPAGE_REALTIME, counter,
                                       &cell.time);
    }
  return table;
}

std::string PageTable::line_of(unsigned format) const {
  const auto& [unsmeared, smeared] = cells_[format];
  std::string line = fmt::format("{:<8}", kFormats[format]);
  for (const Cell* cell : {&unsmeared, &smeared})
    line += fmt::format("  {:>30}", cell->error ? std::string("no time")
                                                : clock_text(CLOCKPAGE_REALTIME, cell->time.ns));
  const bool both = !unsmeared.error && !smeared.error;
  line += fmt::format("  {:>12}",
                      both ? seconds_text(difference(smeared.time.ns, unsmeared.time.ns)) : "-");
  // The unsmeared page tells when the leap is, the smeared one whether it is being smeared.
  const Cell& telling = !smeared.error && smeared.time.leap_indicator == CLOCKPAGE_LEAP_IN_SMEAR
                            ? smeared
                            : unsmeared;
  if (!unsmeared.error && unsmeared.time.flags & CLOCKPAGE_TIME_AMBIGUOUS)
    return line + (unsmeared.time.leap_indicator == CLOCKPAGE_LEAP_JUST_PAST ? "  twice: 2nd"
                                                                             : "  twice: 1st");
  return line + fmt::format("  {}", telling.error ? "-" : leap_short(telling.time.leap_indicator));
}

std::vector<std::string> PageTable::lines() const {
  const std::string smeared = "smeared: " + smear_text(smear_);
  return {fmt::format("{:<8}  {:>30}  {:>30}  {:>12}  leap", "", "unsmeared", smeared, "s between"),
          line_of(CLOCKPAGE_FORMAT_UNSCALED), line_of(CLOCKPAGE_FORMAT_SCALED)};
}

nlohmann::ordered_json PageTable::json() const {
  auto list = nlohmann::ordered_json::array();
  for (unsigned format = 0; format < 2; format++)
    for (unsigned smeared = 0; smeared < 2; smeared++) {
      const Cell& cell = cells_[format][smeared];
      nlohmann::ordered_json json;
      json["format"] = kFormats[format];
      json["smear"] = smeared ? smear_text(smear_) : "none";
      json["error"] = cell.error;
      if (!cell.error) {
        json["ns"] = cell.time.ns;
        json["leap_indicator"] = leap_name(cell.time.leap_indicator);
        json["ambiguous"] = (cell.time.flags & CLOCKPAGE_TIME_AMBIGUOUS) != 0;
      }
      list.push_back(std::move(json));
    }
  return list;
}

}  // namespace clockpage::tool
