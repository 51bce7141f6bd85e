// SPDX-License-Identifier: MIT
// The document of a saved view, out of and into JSON. It may have come over a network.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <string_view>

#include "migration.hpp"

namespace clockpage::producer {

namespace {

using Json = nlohmann::json;

constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMostNs = std::int64_t{1} << 62;
// KTIME_SEC_MAX / 2: what MONOTONIC and BOOTTIME may be at most.
constexpr std::int64_t kMostLocalNs = 4'611'686'018'000'000'000;
// Counters between 1 MHz and 1 THz.
constexpr std::uint64_t kMostHz = 1'000'000'000'000;

std::string hex_of(const Id& id) {
  std::string text;
  for (const std::uint8_t byte : id) text += fmt::format("{:02x}", byte);
  return text;
}

// An object, key by key: each is asked for once, and none may be left.
class Object {
 public:
  Object(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
    if (!json.is_object()) fail("is not an object");
  }
  [[noreturn]] void fail(std::string_view reason) const {
    throw RegionError(fmt::format("the saved view: {} {}", path_.empty() ? "it" : path_, reason));
  }
  [[noreturn]] void fail(const char* key, std::string_view reason) const {
    throw RegionError(
        fmt::format("the saved view: {}{}{} {}", path_, path_.empty() ? "" : ".", key, reason));
  }
  const Json& at(const char* key) {
    const auto found = json_.find(key);
    if (found == json_.end()) fail(key, "is missing");
    asked_.insert(key);
    return *found;
  }
  Object object(const char* key) { return {at(key), path_.empty() ? key : path_ + "." + key}; }
  bool is_null(const char* key) { return at(key).is_null(); }
  std::string string(const char* key) {
    const Json& value = at(key);
    if (!value.is_string()) fail(key, "is not a string");
    return value.get<std::string>();
  }
  bool boolean(const char* key) {
    const Json& value = at(key);
    if (!value.is_boolean()) fail(key, "is not true or false");
    return value.get<bool>();
  }
  std::uint64_t natural(const char* key, std::uint64_t least, std::uint64_t most) {
    const Json& value = at(key);
    // What was parsed is unsigned where it can be; what was made need not.
    if (!value.is_number_unsigned() &&
        (!value.is_number_integer() || value.get<std::int64_t>() < 0))
      fail(key, "is not a whole number, 0 or more, of 64 bits");
    const auto number = value.get<std::uint64_t>();
    if (number < least || number > most)
      fail(key, fmt::format("is {}, not {} to {}", number, least, most));
    return number;
  }
  std::int64_t integer(const char* key, std::int64_t least = kNone, std::int64_t most = kMax) {
    const Json& value = at(key);
    const bool too_large =
        value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{kMax};
    if (!value.is_number_integer() || too_large) fail(key, "is not a whole number of 64 bits");
    const auto number = value.get<std::int64_t>();
    if (number < least || number > most)
      fail(key, fmt::format("is {}, not {} to {}", number, least, most));
    return number;
  }
  Id id(const char* key) {
    const std::string text = string(key);
    const auto digit = [&](char c) {
      if (c >= '0' && c <= '9') return c - '0';
      if (c >= 'a' && c <= 'f') return c - 'a' + 10;
      fail(key, "is not 32 hexadecimal digits");
    };
    Id id{};
    if (text.size() != 2 * id.size()) fail(key, "is not 32 hexadecimal digits");
    for (std::size_t i = 0; i < id.size(); i++)
      id[i] = static_cast<std::uint8_t>(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    return id;
  }
  // To be called last.
  void no_more() const {
    for (const auto& [key, value] : json_.items())
      if (asked_.count(key) == 0)
        fail(fmt::format("has a key of {} bytes that this version does not know", key.size()));
  }

 private:
  const Json& json_;
  std::string path_;
  std::set<std::string> asked_;
};

constexpr std::array kStatusNames = {"unknown", "initialising", "synchronised", "free-running",
                                     "unreliable"};

Json json_of_reading(const ClockReading& reading) {
  const bool bounded = reading.bound_ns().has_value();
  return {{"ns", reading.ns},
          {"earliest_ns", bounded ? Json(reading.earliest_ns) : Json()},
          {"latest_ns", bounded ? Json(reading.latest_ns) : Json()},
          {"status", kStatusNames[std::min<std::size_t>(reading.status, kStatusNames.size() - 1)]}};
}

ClockReading reading_of(Object object, std::int64_t least, std::int64_t most) {
  ClockReading reading;
  reading.ns = object.integer("ns", least, most);
  const bool none = object.is_null("earliest_ns");
  if (none != object.is_null("latest_ns")) object.fail("has one bound of two");
  if (!none) {
    reading.earliest_ns = object.integer("earliest_ns", kNone + 1, reading.ns);
    reading.latest_ns = object.integer("latest_ns", reading.ns, kMax - 1);
  }
  const std::string status = object.string("status");
  const auto* const found = std::find(kStatusNames.begin(), kStatusNames.end(), status);
  if (found == kStatusNames.end()) object.fail("status", "is no status");
  reading.status = static_cast<std::uint8_t>(found - kStatusNames.begin());
  object.no_more();
  return reading;
}

void take_view(Object object, SavedView& saved) {
  ViewState& state = saved.state;
  state.counter_offset = object.integer("counter_offset");
  state.counter_ratio = object.natural("counter_ratio", 1, UINT64_MAX);
  state.counter_frac_bits = static_cast<std::uint8_t>(object.natural("counter_frac_bits", 0, 48));
  const std::string format = object.string("format");
  if (format != "unscaled" && format != "scaled")
    object.fail("format", "is not unscaled or scaled");
  state.format = format == "scaled" ? CLOCKPAGE_FORMAT_SCALED : CLOCKPAGE_FORMAT_UNSCALED;
  state.smear = object.boolean("smeared") ? 1 : 0;
  std::string reason;
  const auto smear = parse_smear(object.string("smear"), &reason);
  if (!smear) object.fail("smear", "is no smear");
  if (state.smear == 0 && *smear != kNoSmear) object.fail("smear", "is one of a view without");
  saved.smear = *smear;
  state.monotonic_offset_ns = object.integer("monotonic_offset_ns");
  state.boottime_offset_ns = object.integer("boottime_offset_ns");
  object.no_more();
}

void take_host(Object object, SavedView& saved) {
  saved.host_id = object.id("host_id");
  saved.boot_id = object.id("boot_id");
  saved.generation = object.natural("generation", 0, UINT64_MAX);
  saved.counter_kind = static_cast<std::uint8_t>(object.natural("counter_kind", 0, 255));
  saved.host_frequency_hz = object.natural("counter_frequency_hz", 1'000'000, kMostHz);
  object.no_more();
}

void take_moment(Object object, SavedView& saved) {
  saved.host.counter = object.natural("host_counter", 0, UINT64_MAX);
  saved.view.guest_counter = object.natural("guest_counter", 0, UINT64_MAX);
  saved.guest_frequency_uhz =
      object.natural("guest_frequency_uhz", 1'000'000'000'000, kMostHz * 1'000'000);
  saved.guest_khz = static_cast<std::uint32_t>(object.natural("guest_khz", 1'000, 1'000'000'000));
  saved.host.utc = reading_of(object.object("utc"), -kMostNs, kMostNs);
  if (!object.is_null("tai")) saved.host.tai = reading_of(object.object("tai"), 0, kMostNs);
  saved.view.realtime = reading_of(object.object("realtime"), -kMostNs, kMostNs);
  saved.view.monotonic = reading_of(object.object("monotonic"), 0, kMostLocalNs);
  saved.view.boottime = reading_of(object.object("boottime"), 0, kMostLocalNs);
  object.no_more();
}

}  // namespace

Json json_of(const SavedView& saved) {
  const ViewState& s = saved.state;
  return {{"clockpage_saved_view", kSavedViewVersion},
          {"name", saved.name},
          {"view_id", hex_of(saved.view_id)},
          {"disruption_marker", saved.disruption_marker},
          {"view",
           {{"counter_offset", s.counter_offset},
            {"counter_ratio", s.counter_ratio},
            {"counter_frac_bits", s.counter_frac_bits},
            {"format", s.format == CLOCKPAGE_FORMAT_SCALED ? "scaled" : "unscaled"},
            {"smeared", s.smear != 0},
            {"smear", smear_name(saved.smear)},
            {"monotonic_offset_ns", s.monotonic_offset_ns},
            {"boottime_offset_ns", s.boottime_offset_ns}}},
          {"host",
           {{"host_id", hex_of(saved.host_id)},
            {"boot_id", hex_of(saved.boot_id)},
            {"generation", saved.generation},
            {"counter_kind", saved.counter_kind},
            {"counter_frequency_hz", saved.host_frequency_hz}}},
          {"at",
           {{"host_counter", saved.host.counter},
            {"guest_counter", saved.view.guest_counter},
            {"guest_frequency_uhz", saved.guest_frequency_uhz},
            {"guest_khz", saved.guest_khz},
            {"utc", json_of_reading(saved.host.utc)},
            {"tai", saved.host.tai ? json_of_reading(*saved.host.tai) : Json()},
            {"realtime", json_of_reading(saved.view.realtime)},
            {"monotonic", json_of_reading(saved.view.monotonic)},
            {"boottime", json_of_reading(saved.view.boottime)}}}};
}

SavedView saved_view_of(const Json& document) {
  Object object(document, "");
  // First: what another version means by the rest is not known.
  const std::uint64_t version = object.natural("clockpage_saved_view", 0, UINT64_MAX);
  if (version != kSavedViewVersion)
    object.fail("clockpage_saved_view",
                fmt::format("is version {}, not {}", version, kSavedViewVersion));
  SavedView saved;
  saved.name = object.string("name");
  try {
    check_view_name(saved.name);
  } catch (const RegionError& e) {
    object.fail("name", fmt::format("is none: {}", e.what()));
  }
  saved.view_id = object.id("view_id");
  saved.disruption_marker = object.natural("disruption_marker", 0, UINT64_MAX);
  take_view(object.object("view"), saved);
  take_host(object.object("host"), saved);
  take_moment(object.object("at"), saved);
  object.no_more();
  return saved;
}

Json json_of(const RestoredView& restored) {
  const ViewState& s = restored.state;
  return {
      {"counter_offset", s.counter_offset},
      {"counter_ratio", s.counter_ratio},
      {"counter_frac_bits", s.counter_frac_bits},
      {"guest_khz", restored.guest_khz},
      {"host_counter", restored.host_counter},
      {"guest_counter", restored.guest_counter},
      {"elapsed_ns", restored.elapsed_ns},
      {"elapsed_by", restored.elapsed_by_tai ? "tai" : "realtime"},
      {"elapsed_bound_ns", restored.elapsed_bound_ns ? Json(*restored.elapsed_bound_ns) : Json()},
      {"counter_error_ns", restored.counter_error_ns}};
}

}  // namespace clockpage::producer
