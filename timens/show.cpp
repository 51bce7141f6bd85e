// SPDX-License-Identifier: MIT
//
// clockpage-timens show: the offsets of a process's time namespace, and the view they ask for.
#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "commands.hpp"
#include "seconds.hpp"
#include "timens_offsets.hpp"

namespace clockpage::timens {
namespace {

struct ShowOptions {
  std::string process = "self";
  bool json = false;
};

// The namespace's number; nullopt where it cannot be seen.
std::optional<std::uint64_t> namespace_of(const std::string& process, const char* name) {
  struct stat status {};
  const std::string path = "/proc/" + process + "/ns/" + name;
  if (stat(path.c_str(), &status) != 0) return std::nullopt;
  return status.st_ino;
}

std::string namespace_text(std::optional<std::uint64_t> number) {
  if (!number) return "unknown (it may not be looked at)";
  return fmt::format("{}{}", *number, *number == kFirstTimeNamespace ? ", the first one" : "");
}

void print_json(const std::string& process, std::optional<std::uint64_t> own,
                std::optional<std::uint64_t> children, const TimensOffsets& offsets) {
  const auto number = [](std::optional<std::uint64_t> value) {
    return value ? nlohmann::json(*value) : nlohmann::json();
  };
  const nlohmann::json view = {{"counter_offset", 0},
                               {"counter_ratio", 1},
                               {"counter_frac_bits", 0},
                               {"monotonic_offset_ns", offsets.monotonic_ns},
                               {"boottime_offset_ns", offsets.boottime_ns}};
  const nlohmann::json said = {{"process", process},
                               {"time_namespace", number(own)},
                               {"time_namespace_for_children", number(children)},
                               {"monotonic_offset_ns", offsets.monotonic_ns},
                               {"boottime_offset_ns", offsets.boottime_ns},
                               {"view", view}};
  fmt::print("{}\n", said.dump());
}

void print_text(const std::string& process, std::optional<std::uint64_t> own,
                std::optional<std::uint64_t> children, const TimensOffsets& offsets) {
  fmt::print("process {}: time namespace {}\n", process, namespace_text(own));
  if (own != children)
    fmt::print("its children's: {}, whose offsets these are:\n", namespace_text(children));
  fmt::print("MONOTONIC and RAW  host's {:+} ns ({} s)\n", offsets.monotonic_ns,
             seconds_text(offsets.monotonic_ns));
  fmt::print("BOOTTIME           host's {:+} ns ({} s)\n", offsets.boottime_ns,
             seconds_text(offsets.boottime_ns));
  fmt::print("REALTIME and TAI   host's\n");
  fmt::print("its view: clockpage view add NAME --monotonic {} --boottime {}\n",
             seconds_text(offsets.monotonic_ns), seconds_text(offsets.boottime_ns));
}

int show(const ShowOptions& options) {
  const auto read = read_timens_offsets(options.process);
  if (const auto* refusal = std::get_if<TimensRefusal>(&read)) {
    struct stat status {};
    if (refusal->saved_errno == ENOENT) {
      if (stat(("/proc/" + options.process).c_str(), &status) != 0)
        throw std::runtime_error("there is no process " + options.process);
      throw std::runtime_error(refusal->text + ": the kernel has no time namespaces");
    }
    throw std::runtime_error(refusal->text);
  }
  const auto own = namespace_of(options.process, "time");
  const auto children = namespace_of(options.process, "time_for_children");
  (options.json ? print_json : print_text)(options.process, own, children,
                                           std::get<TimensOffsets>(read));
  return kOk;
}

std::string not_a_process(const std::string& text) {
  const bool digits = !text.empty() && text.size() < 11 &&
                      text.find_first_not_of("0123456789") == text.npos && text[0] != '0';
  return digits ? "" : "\"" + text + "\" is not a process's number";
}

}  // namespace

void add_show_command(CLI::App& app, Run& run) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* command =
      app.add_subcommand("show", "Show a time namespace's offsets, and the view they ask for");
  command
      ->add_option("PID", options->process, "A process whose children are in it; default: this one")
      ->type_name("")
      ->check(CLI::Validator(not_a_process, ""));
  command->add_flag("--json", options->json, "Print exactly one JSON object, in raw units");
  command->footer(
      "The offsets are what /proc/PID/timens_offsets says: those of the namespace that PID's "
      "children\n"
      "are in. That is its own as well, but between unshare(2) and fork(2). They are relative to "
      "the\n"
      "host's clocks, however many namespaces there are in between.");
  command->callback([&run, options] { run = [options] { return show(*options); }; });
}

}  // namespace clockpage::timens
