// SPDX-License-Identifier: MIT
// What is asked for over the control socket, out of JSON that anybody may have written. Spec
// section 9.2.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace clockpage::producer {

// One line for whoever asked: printable ASCII, no newline.
struct RequestError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Which data page a view uses. automatic: the unscaled one where the ratio is one, the scaled one
// where the ratio is its own, else the unscaled one with the ratio undone.
enum class FormatChoice { automatic, unscaled, scaled };

// What a view is made from, as far as it is said. Units, signs and ranges as ViewState's.
struct ViewFields {
  std::optional<std::int64_t> counter_offset;
  std::optional<std::uint64_t> counter_ratio;
  std::optional<std::uint8_t> counter_frac_bits;
  std::optional<FormatChoice> format;
  std::optional<bool> smeared;
  std::optional<std::int64_t> monotonic_offset_ns;
  std::optional<std::int64_t> boottime_offset_ns;
  std::optional<pid_t> vm_pid;        // the relation of the counters is that VM's
  std::optional<int> vm_fd;           // which of its VMs: KVM's descriptor there
  std::optional<std::string> parent;  // another view: all of the above is relative to it
  bool operator==(const ViewFields&) const = default;
};

// Of the file; nothing: as it is, or the default.
struct FileFields {
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
};

// How a saved view is to be restored.
struct RestoreFields {
  nlohmann::json saved;  // an object, not looked at yet
  bool count_downtime = true;
  bool accept_smear = false;
  std::optional<std::uint32_t> guest_khz;
  ViewFields relation;  // counter_* and vm_* alone
};

struct ViewRequest {
  std::string command;  // "view.add" and so on: one that exists
  std::string name;     // of a view; empty for view.list
  ViewFields view;
  FileFields file;
  RestoreFields restore;  // of view.restore
  bool keep = false;      // of view.remove: its name is taken away alone
};

// The longest request, its newline included.
inline constexpr std::size_t kMostRequestBytes = 16384;

// Parses one JSON object: nothing twice in it, not deep, UTF-8. Throws RequestError.
nlohmann::json parse_strictly(std::string_view text);

// Throws RequestError: what is wrong with it, and where.
ViewRequest parse_request(std::string_view line);

// The same for the part that says what a view is made from, as in source records, and back. Throws
// RequestError.
ViewFields fields_from(const nlohmann::json& object);
nlohmann::json json_of(const ViewFields& fields);

// Fit for a message: at most 64 characters, printable ASCII; whatever is not becomes '?'.
std::string printable(std::string_view text);

}  // namespace clockpage::producer
