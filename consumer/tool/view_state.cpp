// SPDX-License-Identifier: MIT
#include "view_state.hpp"

#include <fmt/format.h>

#include <span>

#include "exit_code.hpp"
#include "format.hpp"
#include "timens_offsets.hpp"

namespace clockpage::tool {
namespace {

std::string hex(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t& byte : bytes) text += fmt::format("{:02x}", CLOCKPAGE_LOAD(byte));
  return text;
}

struct ViewState {
  clockpage_view_reader reader;
  std::string id;

  explicit ViewState(const Page& page) {
    if (const int error = page.current_view(reader))
      throw Failure(page.view_file(), clockpage_strerror(error));
    id = hex(reader.view->view_id);
  }
  int64_t counter_offset() const { return static_cast<int64_t>(reader.counter_offset); }
  int64_t monotonic_offset() const { return static_cast<int64_t>(reader.monotonic_offset_ns); }
  int64_t boottime_offset() const { return static_cast<int64_t>(reader.boottime_offset_ns); }
  bool scaled() const {
    return CLOCKPAGE_LOAD(reader.data.page->format) == CLOCKPAGE_FORMAT_SCALED;
  }
  uint64_t parent() const { return reader.depth ? reader.ancestor_number[0] : 0; }
  bool same_counter() const {
    return reader.counter_offset == 0 && reader.ratio == uint64_t{1} << reader.frac_bits;
  }
};

std::string counter_words(const ViewState& view) {
  if (view.same_counter()) return "the host's";
  if (view.reader.frac_bits == 0) return fmt::format("the host's {:+}", view.counter_offset());
  return fmt::format("(the host's * {} >> {}) {:+}", view.reader.ratio, view.reader.frac_bits,
                     view.counter_offset());
}

}  // namespace

nlohmann::ordered_json json_of_view(const Page& page) {
  nlohmann::ordered_json json;
  if (!page.has_view()) return json;
  const ViewState view(page);
  json["path"] = page.view_file();
  json["view_id"] = view.id;
  json["number"] = view.reader.number;
  json["disruption_marker"] = view.reader.disruption_marker;
  json["counter_offset"] = view.counter_offset();
  json["counter_ratio"] = view.reader.ratio;
  json["counter_frac_bits"] = view.reader.frac_bits;
  json["format"] = view.scaled() ? "scaled" : "unscaled";
  json["smeared"] = page.is_smeared(*view.reader.data.page);
  json["monotonic_offset_ns"] = view.monotonic_offset();
  json["boottime_offset_ns"] = view.boottime_offset();
  json["parent_generation"] = view.parent();
  json["ancestors"] = view.reader.depth;
  return json;
}

void print_view(const Page& page) {
  if (!page.has_view()) {
    const auto own = own_timens_offsets();
    const auto* offsets = std::get_if<TimensOffsets>(&own);
    fmt::print("view          none: the host's clocks{}\n",
               offsets && *offsets == TimensOffsets{}
                   ? ""
                   : ", and not those of this process's time namespace");
    return;
  }
  const ViewState view(page);
  fmt::print("view          {}\n", page.view_file());
  fmt::print("              id {}, number {}, disruption marker {}\n", view.id, view.reader.number,
             view.reader.disruption_marker);
  fmt::print("              counter: {}; {} page, {}\n", counter_words(view),
             view.scaled() ? "scaled" : "unscaled",
             page.is_smeared(*view.reader.data.page) ? "smeared" : "unsmeared");
  fmt::print("              MONOTONIC and RAW {:+} ns, BOOTTIME {:+} ns\n", view.monotonic_offset(),
             view.boottime_offset());
  if (view.reader.depth)
    fmt::print("              composed from another view, its number {}; {} above it in all\n",
               view.parent(), view.reader.depth);
}

}  // namespace clockpage::tool
