// SPDX-License-Identifier: MIT
// For the view tests: a guest's program that has one view mapped, and keeps it. Its counter is this
// machine's, scaled and offset in software by KVM's arithmetic. DIR and VIEW on the command line;
// then one command a line, one line for each:
//
//   marker                     error marker
//   read CLOCK OFFSET RATIO BITS   error ns earliest latest marker guest_counter, of now
//   at CLOCK GUEST_COUNTER MARKER  error ns, of a captured counter value
#include <clockpage/clockpage.h>

#include <cinttypes>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

namespace {

struct Opened {
  clockpage_region* region = nullptr;
  ~Opened() { clockpage_close(region); }
};

void answer(const clockpage_view_reader& reader, std::istringstream line) {
  std::string command;
  int clock = 0;
  line >> command;
  if (command == "marker") {
    std::uint64_t marker = 0;
    const int error = clockpage_view_marker(&reader, &marker);
    std::printf("%d %" PRIu64 "\n", error, marker);
  } else if (command == "read") {
    std::int64_t offset = 0;
    std::uint64_t ratio = 0;
    unsigned bits = 0;
    line >> clock >> offset >> ratio >> bits;
    std::uint64_t marker = 0;
    int error = clockpage_view_marker(&reader, &marker);
    const std::uint64_t guest = clockpage_scale_counter(clockpage_counter_ordered(), ratio, bits) +
                                static_cast<std::uint64_t>(offset);
    clockpage_view_time time{};
    if (error == 0) error = clockpage_view_at_bounds(&reader, clock, guest, marker, &time);
    std::printf("%d %" PRId64 " %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 "\n", error,
                time.time.ns, time.time.earliest_ns, time.time.latest_ns, marker, guest);
  } else if (command == "at") {
    std::uint64_t guest = 0;
    std::uint64_t marker = 0;
    line >> clock >> guest >> marker;
    std::int64_t ns = 0;
    const int error = clockpage_view_at(&reader, clock, guest, marker, &ns);
    std::printf("%d %" PRId64 "\n", error, ns);
  } else {
    std::printf("? %s\n", command.c_str());
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  clockpage_open_options options{};
  options.size = sizeof options;
  options.directory = argv[1];
  options.view = argv[2];
  options.flags = CLOCKPAGE_OPEN_VIEW;
  clockpage_open_error error{};
  Opened opened;
  const int code = clockpage_open(&options, &opened.region, &error);
  std::printf("%d %s\n", code, error.where);
  std::fflush(stdout);
  if (code != 0) return 1;
  for (std::string line; std::getline(std::cin, line);)
    answer(*clockpage_view_reader_of(opened.region), std::istringstream(line));
}
