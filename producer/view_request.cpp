// SPDX-License-Identifier: MIT
#include "view_request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <vector>

namespace clockpage::producer {

namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;
constexpr int kMostDepth = 4;

[[noreturn]] void refuse(const std::string& line) { throw RequestError(line); }

// Sees every event of the parser before it makes anything of it.
class StrictParser {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    using Event = Json::parse_event_t;
    // Of an object or array that begins, the depth is that of what it is in.
    if (depth >= kMostDepth && (event == Event::object_start || event == Event::array_start))
      refuse(fmt::format("the request is nested more than {} deep", kMostDepth));
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end) keys_.pop_back();
    if (event == Event::key && !keys_.back().insert(parsed.get<std::string>()).second)
      refuse(fmt::format("{}: is there twice", printable(parsed.get<std::string>())));
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

std::string value_text(const Json& value) {
  return printable(value.dump(-1, ' ', true, Json::error_handler_t::replace));
}

template <typename Integer>
Integer integer(const std::string& key, const Json& value, Integer low, Integer high) {
  const auto refuse_it = [&] {
    refuse(fmt::format("{} is {}: must be an integer from {} to {}", key, value_text(value), low,
                       high));
  };
  if (!value.is_number_integer()) refuse_it();
  // The parser keeps what is not negative as unsigned.
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (std::cmp_less(number, low) || std::cmp_greater(number, high)) refuse_it();
    return static_cast<Integer>(number);
  }
  const auto number = value.get<std::int64_t>();
  if (std::cmp_less(number, low) || std::cmp_greater(number, high)) refuse_it();
  return static_cast<Integer>(number);
}

template <typename Integer>
Integer integer(const std::string& key, const Json& value) {
  using Limits = std::numeric_limits<Integer>;
  return integer<Integer>(key, value, Limits::min(), Limits::max());
}

std::string text(const std::string& key, const Json& value) {
  if (!value.is_string()) refuse(fmt::format("{} is {}: must be a string", key, value_text(value)));
  return value.get<std::string>();
}

bool truth(const std::string& key, const Json& value) {
  if (!value.is_boolean())
    refuse(fmt::format("{} is {}: must be true or false", key, value_text(value)));
  return value.get<bool>();
}

mode_t mode(const std::string& key, const Json& value) {
  const std::string digits = text(key, value);
  const bool octal =
      digits.size() >= 3 && digits.size() <= 4 &&
      std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '7'; });
  if (!octal)
    refuse(fmt::format("{} is {}: must be three or four octal digits", key, value_text(value)));
  const auto bits = static_cast<mode_t>(std::stoul(digits, nullptr, 8));
  if ((bits & ~mode_t{0644}) != 0)
    refuse(fmt::format("{} is {}: a view is there to be read: no bits beyond 0644", key, digits));
  return bits;
}

constexpr std::array kFormats = {std::pair{"auto", FormatChoice::automatic},
                                 std::pair{"unscaled", FormatChoice::unscaled},
                                 std::pair{"scaled", FormatChoice::scaled}};

FormatChoice format(const std::string& key, const Json& value) {
  const std::string name = text(key, value);
  for (const auto& [known, choice] : kFormats)
    if (name == known) return choice;
  refuse(fmt::format("{} is {}: must be auto, unscaled or scaled", key, value_text(value)));
}

std::uint8_t frac_bits(const std::string& key, const Json& value) {
  const auto bits = integer<std::uint8_t>(key, value, 0, 48);
  if (bits != 0 && bits != 32 && bits != 48)
    refuse(fmt::format("{} is {}: must be 0, 32 (SVM) or 48 (VMX)", key, bits));
  return bits;
}

[[noreturn]] void refuse_leaping_clock(const std::string& key) {
  refuse(fmt::format(
      "{}: an offset to REALTIME or TAI has no meaning across a leap second; there is none", key));
}

// Takes what says how a view is made; false: another key.
bool take_view_field(ViewFields& to, const std::string& key, const Json& value) {
  if (key == "counter_offset") {
    to.counter_offset = integer<std::int64_t>(key, value);
  } else if (key == "counter_ratio") {
    to.counter_ratio = integer<std::uint64_t>(key, value);
  } else if (key == "counter_frac_bits") {
    to.counter_frac_bits = frac_bits(key, value);
  } else if (key == "format") {
    to.format = format(key, value);
  } else if (key == "smeared") {
    to.smeared = truth(key, value);
  } else if (key == "monotonic_offset_ns") {
    to.monotonic_offset_ns = integer<std::int64_t>(key, value);
  } else if (key == "boottime_offset_ns") {
    to.boottime_offset_ns = integer<std::int64_t>(key, value);
  } else if (key == "vm_pid") {
    to.vm_pid = integer<pid_t>(key, value, 1, std::numeric_limits<pid_t>::max());
  } else if (key == "vm_fd") {
    to.vm_fd = integer<int>(key, value, 0, std::numeric_limits<int>::max());
  } else if (key == "parent") {
    to.parent = text(key, value);
  } else {
    return false;
  }
  return true;
}

// What of that a restored view may be told: all else is the saved view's.
bool is_relation(const std::string& key) {
  return key == "counter_offset" || key == "counter_ratio" || key == "counter_frac_bits" ||
         key == "vm_pid" || key == "vm_fd";
}

bool counts_downtime(const std::string& key, const Json& value) {
  const std::string how = text(key, value);
  if (how != "count" && how != "hide")
    refuse(fmt::format("{} is {}: must be count or hide", key, value_text(value)));
  return how == "count";
}

bool take_restore_field(RestoreFields& to, const std::string& key, const Json& value) {
  if (is_relation(key)) return take_view_field(to.relation, key, value);
  if (key == "saved") {
    if (!value.is_object()) refuse("saved: must be an object, what view.save has answered");
    to.saved = value;
  } else if (key == "downtime") {
    to.count_downtime = counts_downtime(key, value);
  } else if (key == "accept_smear") {
    to.accept_smear = truth(key, value);
  } else if (key == "guest_khz") {
    to.guest_khz = integer<std::uint32_t>(key, value, 1'000, 1'000'000'000);
  } else {
    return false;
  }
  return true;
}

// Of uid and gid: the highest one means "none" to chown(2).
constexpr std::uint32_t kMostId = std::numeric_limits<std::uint32_t>::max() - 1;

bool take_file_field(FileFields& to, const std::string& key, const Json& value) {
  if (key == "mode") {
    to.mode = mode(key, value);
  } else if (key == "uid") {
    to.uid = integer<uid_t>(key, value, 0, kMostId);
  } else if (key == "gid") {
    to.gid = integer<gid_t>(key, value, 0, kMostId);
  } else {
    return false;
  }
  return true;
}

[[noreturn]] void refuse_key(const std::string& command, const std::string& key) {
  refuse(fmt::format("{}: {} has no such key", printable(key), command));
}

// Which keys a command has, beside version and command.
struct Command {
  const char* name;
  bool names_a_view;
  bool has_fields;
  bool restores = false;
};
constexpr std::array kCommands = {
    Command{"view.add", true, true},           Command{"view.set", true, true},
    Command{"view.remove", true, false},       Command{"view.list", false, false},
    Command{"view.show", true, false},         Command{"view.save", true, false},
    Command{"view.restore", true, false, true}};

const Command& command_of(const Json& request) {
  const auto found = request.find("command");
  if (found == request.end()) refuse("command: is missing");
  const std::string name = text("command", *found);
  for (const Command& command : kCommands)
    if (name == command.name) return command;
  refuse(fmt::format("command is {}: there is no such command", value_text(*found)));
}

void check_version(const Json& request) {
  const auto found = request.find("version");
  if (found == request.end()) refuse("version: is missing");
  if (integer<std::uint64_t>("version", *found) != kVersion)
    refuse(fmt::format("version is {}: this clockpaged knows {}", value_text(*found), kVersion));
}

}  // namespace

std::string printable(std::string_view text) {
  constexpr std::size_t most = 64;
  std::string line(text.substr(0, most));
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  if (text.size() > most) line += "...";
  return line;
}

Json parse_strictly(std::string_view text) {
  StrictParser strict;
  Json parsed;
  try {
    parsed = Json::parse(text.begin(), text.end(), std::ref(strict));
  } catch (const Json::parse_error& e) {
    refuse(fmt::format("the request is not JSON: at byte {}", e.byte));
  } catch (const Json::exception&) {
    refuse("the request is not JSON: a number is out of range");
  }
  if (!parsed.is_object()) refuse("the request is not a JSON object");
  return parsed;
}

ViewRequest parse_request(std::string_view line) {
  const Json json = parse_strictly(line);
  check_version(json);
  const Command& command = command_of(json);
  ViewRequest request;
  request.command = command.name;
  for (const auto& [key, value] : json.items()) {
    if (key == "version" || key == "command") continue;
    if (command.names_a_view && key == "name") {
      request.name = text(key, value);
      continue;
    }
    if (request.command == "view.remove" && key == "keep") {
      request.keep = truth(key, value);
      continue;
    }
    if (command.has_fields && (key == "realtime_offset_ns" || key == "tai_offset_ns"))
      refuse_leaping_clock(key);
    const bool known =
        (command.has_fields && take_view_field(request.view, key, value)) ||
        (command.restores && take_restore_field(request.restore, key, value)) ||
        ((command.has_fields || command.restores) && take_file_field(request.file, key, value));
    if (!known) refuse_key(request.command, key);
  }
  if (command.names_a_view && json.find("name") == json.end()) refuse("name: is missing");
  if (command.restores)
    for (const char* key : {"saved", "downtime"})
      if (json.find(key) == json.end()) refuse(fmt::format("{}: is missing", key));
  return request;
}

ViewFields fields_from(const Json& object) {
  if (!object.is_object()) refuse("what a view is made from is not a JSON object");
  ViewFields fields;
  for (const auto& [key, value] : object.items())
    if (!take_view_field(fields, key, value))
      refuse(fmt::format("{}: no view is made from that", printable(key)));
  return fields;
}

Json json_of(const ViewFields& fields) {
  Json json = Json::object();
  const auto put = [&json](const char* key, const auto& value) {
    if (value) json[key] = *value;
  };
  put("counter_offset", fields.counter_offset);
  put("counter_ratio", fields.counter_ratio);
  put("counter_frac_bits", fields.counter_frac_bits);
  if (fields.format)
    for (const auto& [name, choice] : kFormats)
      if (choice == *fields.format) json["format"] = name;
  put("smeared", fields.smeared);
  put("monotonic_offset_ns", fields.monotonic_offset_ns);
  put("boottime_offset_ns", fields.boottime_offset_ns);
  put("vm_pid", fields.vm_pid);
  put("vm_fd", fields.vm_fd);
  put("parent", fields.parent);
  return json;
}

}  // namespace clockpage::producer
