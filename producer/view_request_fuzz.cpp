// SPDX-License-Identifier: MIT
//
// Fuzz target: any bytes as a request over the control socket. They are refused with one line of
// printable text, or what comes out of them is within the limits that the registry relies on.
//
// Input: the request.
#include <algorithm>

#include "fuzz.hpp"
#include "view_request.hpp"

namespace clockpage::producer {
namespace {

void check_line(std::string_view line) {
  CLOCKPAGE_FUZZ_CHECK(!line.empty() && line.size() < 300);
  CLOCKPAGE_FUZZ_CHECK(
      std::all_of(line.begin(), line.end(), [](char c) { return c >= 0x20 && c <= 0x7e; }));
}

void check(const ViewRequest& request) {
  CLOCKPAGE_FUZZ_CHECK(request.command.starts_with("view."));
  const ViewFields& v = request.view;
  const int bits = v.counter_frac_bits.value_or(0);
  CLOCKPAGE_FUZZ_CHECK(bits == 0 || bits == 32 || bits == 48);
  CLOCKPAGE_FUZZ_CHECK(v.vm_pid.value_or(1) >= 1);
  CLOCKPAGE_FUZZ_CHECK(v.vm_fd.value_or(0) >= 0);
  CLOCKPAGE_FUZZ_CHECK((request.file.mode.value_or(0) & ~mode_t{0644}) == 0);
  CLOCKPAGE_FUZZ_CHECK(request.file.uid.value_or(0) != static_cast<uid_t>(-1));
  CLOCKPAGE_FUZZ_CHECK(request.file.gid.value_or(0) != static_cast<gid_t>(-1));
  const bool acts = request.command == "view.add" || request.command == "view.set" ||
                    request.command == "view.restore";
  CLOCKPAGE_FUZZ_CHECK(acts || v == ViewFields());
  // What goes into a record comes out of it.
  CLOCKPAGE_FUZZ_CHECK(fields_from(parse_strictly(json_of(v).dump())) == v);
}

}  // namespace
}  // namespace clockpage::producer

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage::producer;
  try {
    check(parse_request({reinterpret_cast<const char*>(data), size}));
  } catch (const RequestError& e) {
    check_line(e.what());
  }
  return 0;
}
