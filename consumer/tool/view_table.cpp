// SPDX-License-Identifier: MIT
#include "view_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace clockpage::tool {
namespace {

using Json = nlohmann::json;

// It may be anybody's file name, or a kernel's text.
std::string line_of(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::string text_of(const Json& view, const char* key) {
  const auto found = view.find(key);
  if (found == view.end()) return {};
  return line_of(found->is_string() ? found->get<std::string>() : found->dump());
}

// Exact, without zeros at the end: "-86400.5 s".
std::string seconds(const Json& ns) {
  const auto value = ns.get<std::int64_t>();
  const auto size =
      value < 0 ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
  std::string text =
      fmt::format("{}{}.{:09}", value < 0 ? "-" : "+", size / 1'000'000'000, size % 1'000'000'000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + " s";
}

// How the guest's counter comes of the host's.
std::string counter_text(const Json& view) {
  const auto ratio = view.at("counter_ratio").get<std::uint64_t>();
  const auto bits = view.at("counter_frac_bits").get<unsigned>();
  const auto offset = view.at("counter_offset").get<std::int64_t>();
  if (ratio == 0) return "not known";
  std::string text = bits == 0 ? "host's" : fmt::format("host's * {} / 2^{}", ratio, bits);
  if (offset != 0) text += fmt::format(" {:+}", offset);
  return text;
}

std::string page_text(const Json& view) {
  return text_of(view, "format") + (view.at("smeared").get<bool>() ? ", smeared" : ", unsmeared");
}

std::string source_text(const Json& view) {
  const Json& source = view.at("source");
  std::string text = text_of(source, "kind");
  for (const auto& [key, value] : source.items())
    if (key != "kind") text += fmt::format(", {} {}", line_of(key), text_of(source, key.c_str()));
  return text;
}

bool is_broken(const Json& view) { return text_of(view, "state") == "broken"; }

}  // namespace

std::string view_text(const Json& view) {
  std::string text;
  const auto put = [&text](const char* what, const std::string& value) {
    text += fmt::format("{:<13} {}\n", what, value);
  };
  const std::string trouble = text_of(view, "error");
  put("view", text_of(view, "name"));
  put("state", text_of(view, "state") + (trouble.empty() ? "" : ": " + trouble));
  put("file", text_of(view, "path"));
  if (is_broken(view)) return text;
  put("permissions", fmt::format("{}, uid {}, gid {}", text_of(view, "mode"), text_of(view, "uid"),
                                 text_of(view, "gid")));
  put("counter", counter_text(view));
  put("page", page_text(view));
  put("MONOTONIC", "page's " + seconds(view.at("monotonic_offset_ns")) + " (RAW likewise)");
  put("BOOTTIME", "page's " + seconds(view.at("boottime_offset_ns")));
  put("made from", source_text(view));
  put("identity", fmt::format("{}, change {}, disruption marker {}", text_of(view, "view_id"),
                              text_of(view, "number"), text_of(view, "disruption_marker")));
  return text;
}

std::string views_table(const Json& views) {
  using Row = std::array<std::string, 7>;
  std::vector<Row> rows{{"NAME", "STATE", "MONOTONIC", "BOOTTIME", "PAGE", "MADE FROM", "COUNTER"}};
  for (const Json& view : views) {
    if (is_broken(view))
      rows.push_back({text_of(view, "name"), "broken", "", "", "", "", text_of(view, "error")});
    else
      rows.push_back({text_of(view, "name"), text_of(view, "state"),
                      seconds(view.at("monotonic_offset_ns")),
                      seconds(view.at("boottime_offset_ns")), page_text(view), source_text(view),
                      counter_text(view)});
  }
  std::array<std::size_t, 7> widths{};
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); i++)
      text += fmt::format("{:<{}}  ", row[i], widths[i]);
    text += row.back() + "\n";
  }
  return text;
}

}  // namespace clockpage::tool
