// SPDX-License-Identifier: MIT
//
// clockpage view: what is particular to one guest or time namespace, kept by clockpaged.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "commands.hpp"
#include "control_client.hpp"
#include "exit_code.hpp"
#include "timens_offsets.hpp"
#include "view_table.hpp"

namespace clockpage::tool {
namespace {

using Json = nlohmann::json;

struct ViewOptions {
  CommonOptions common;
  Json request = Json::object();
  std::optional<int> timens_pid;  // whose children's offsets are asked for
};
using Shared = std::shared_ptr<ViewOptions>;

template <typename Integer>
bool parse_integer(std::string_view text, Integer& value) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// "-86400.25" to ns, exactly; false: no such number, or beyond 64 bits.
bool parse_seconds(std::string_view text, std::int64_t& ns) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const std::size_t point = std::min(text.find('.'), text.size());
  const std::string_view whole = text.substr(0, point);
  std::string fraction(text.substr(std::min(point + 1, text.size())));
  const auto is_digits = [](std::string_view part) {
    return !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
  };
  if (!is_digits(whole) || fraction.size() > 9) return false;
  if (point != text.size() && !is_digits(fraction)) return false;
  fraction.append(9 - fraction.size(), '0');
  std::int64_t seconds = 0;
  std::int64_t rest = 0;
  if (!parse_integer(whole, seconds) || !parse_integer(std::string_view(fraction), rest))
    return false;
  if (negative) {
    seconds = -seconds;
    rest = -rest;
  }
  return !__builtin_mul_overflow(seconds, 1'000'000'000, &ns) &&
         !__builtin_add_overflow(ns, rest, &ns);
}

void add_seconds_option(CLI::App& command, const Shared& options, const char* name, const char* key,
                        const char* help) {
  command
      .add_option_function<std::string>(
          name,
          [=](const std::string& text) {
            std::int64_t ns = 0;
            if (!parse_seconds(text, ns))
              throw CLI::ValidationError(
                  name, text + ": must be decimal seconds, with at most 9 digits after the point");
            options->request[key] = ns;
          },
          help)
      ->type_name("SEC");
}

template <typename Integer>
CLI::Option* add_integer_option(CLI::App& command, const Shared& options, const char* name,
                                const char* key, const char* help, const char* type = "N",
                                Integer low = std::numeric_limits<Integer>::min()) {
  return command
      .add_option_function<std::string>(
          name,
          [=](const std::string& text) {
            Integer value = 0;
            if (!parse_integer(text, value) || value < low)
              throw CLI::ValidationError(
                  name, fmt::format("{}: must be an integer from {} to {}", text, low,
                                    std::numeric_limits<Integer>::max()));
            options->request[key] = value;
          },
          help)
      ->type_name(type);
}

// There to be refused with the reason, and not as an option that does not exist.
void add_refused_option(CLI::App& command, const char* name) {
  command
      .add_option_function<std::string>(
          name,
          [=](const std::string&) {
            throw CLI::ValidationError(
                name,
                "an offset to REALTIME or TAI has no meaning across a leap second: there is "
                "none");
          },
          "Refused: an offset there has no meaning across a leap second")
      ->type_name("SEC");
}

void add_owner_option(CLI::App& command, const Shared& options) {
  command
      .add_option_function<std::string>(
          "--owner",
          [=](const std::string& text) {
            const std::size_t colon = text.find(':');
            const std::string_view uid = std::string_view(text).substr(0, colon);
            std::uint32_t number = 0;
            bool valid = parse_integer(uid, number);
            options->request["uid"] = number;
            if (colon != std::string::npos) {
              valid = valid && parse_integer(std::string_view(text).substr(colon + 1), number);
              options->request["gid"] = number;
            }
            if (!valid) throw CLI::ValidationError("--owner", text + ": must be a uid, or uid:gid");
          },
          "Whose the file is (default: clockpaged's)")
      ->type_name("UID[:GID]");
}

// For who makes time namespaces and asks for their views; clockpage-timens does both.
void add_timens_option(CLI::App& command, const Shared& options) {
  command
      .add_option_function<std::string>(
          "--timens-pid",
          [=](const std::string& text) {
            int pid = 0;
            if (!parse_integer(text, pid) || pid < 1)
              throw CLI::ValidationError("--timens-pid", text + ": must be a process's number");
            options->timens_pid = pid;
          },
          "Both offsets are those of the time namespace that this process's children are in, now")
      ->type_name("PID")
      ->excludes("--monotonic")
      ->excludes("--boottime");
}

void add_clock_options(CLI::App& command, const Shared& options) {
  add_seconds_option(command, options, "--monotonic", "monotonic_offset_ns",
                     "Added to MONOTONIC and MONOTONIC_RAW, exact to the nanosecond");
  add_seconds_option(command, options, "--boottime", "boottime_offset_ns", "Added to BOOTTIME");
  add_timens_option(command, options);
  add_refused_option(command, "--realtime");
  add_refused_option(command, "--tai");
  CLI::Option* smeared = command.add_flag_callback(
      "--smeared", [=] { options->request["smeared"] = true; }, "On the smeared page");
  command
      .add_flag_callback(
          "--unsmeared", [=] { options->request["smeared"] = false; },
          "On the unsmeared page (default)")
      ->excludes(smeared);
}

void add_counter_options(CLI::App& command, const Shared& options) {
  add_integer_option<std::int64_t>(
      command, options, "--tsc-offset", "counter_offset",
      "Guest's counter = ((host's * RATIO) >> BITS) + this, in ticks (default: 0)");
  add_integer_option<std::uint64_t>(command, options, "--tsc-ratio", "counter_ratio",
                                    "RATIO (default: 1)");
  command
      .add_option_function<int>(
          "--frac-bits", [=](int bits) { options->request["counter_frac_bits"] = bits; },
          "BITS: 0 (no scaling), 32 (SVM) or 48 (VMX) (default: 0)")
      ->type_name("BITS")
      ->check(CLI::IsMember({0, 32, 48}).description(""));
  command
      .add_option_function<std::string>(
          "--format", [=](const std::string& name) { options->request["format"] = name; },
          "Data page: scaled where RATIO is that page's, else unscaled (auto, the default), or "
          "as said")
      ->check(CLI::IsMember({"auto", "unscaled", "scaled"}).description(""))
      ->type_name("auto|unscaled|scaled");
  CLI::Option* pid = add_integer_option<int>(
      command, options, "--vm-pid", "vm_pid",
      "Offset and ratio are that KVM process', asked once a second", "PID", 1);
  add_integer_option<int>(command, options, "--vm-fd", "vm_fd",
                          "Which VM of that process: its descriptor there", "FD", 0)
      ->needs(pid);
  command
      .add_option_function<std::string>(
          "--parent", [=](const std::string& name) { options->request["parent"] = name; },
          "Another view that all this is relative to")
      ->type_name("NAME");
}

void add_file_options(CLI::App& command, const Shared& options) {
  command
      .add_option_function<std::string>(
          "--mode", [=](const std::string& mode) { options->request["mode"] = mode; },
          "Permissions of the file, octal (default: 0644, or 0444 with another --owner)")
      ->type_name("MODE");
  add_owner_option(command, options);
}

void add_offsets_of(int pid, Json& request) {
  const auto read = read_timens_offsets(std::to_string(pid));
  if (const auto* refusal = std::get_if<TimensRefusal>(&read)) throw Failure("", refusal->text);
  const auto& offsets = std::get<TimensOffsets>(read);
  request["monotonic_offset_ns"] = offsets.monotonic_ns;
  request["boottime_offset_ns"] = offsets.boottime_ns;
}

int run_view(const ViewOptions& options) {
  Json request = options.request;
  if (options.timens_pid) add_offsets_of(*options.timens_pid, request);
  Json answer;
  try {
    answer = ask(options.common.directory, request);
  } catch (const ControlError& error) {
    throw Failure("", error.what());
  }
  try {
    if (options.common.json) {
      fmt::print("{}\n", answer.dump(2, ' ', false, Json::error_handler_t::replace));
    } else if (answer.contains("views")) {
      fmt::print("{}", views_table(answer["views"]));
    } else if (answer.contains("view")) {
      fmt::print("{}", view_text(answer["view"]));
    }
  } catch (const Json::exception&) {
    throw Failure(options.common.directory, "clockpaged's answer is not understood");
  }
  return kOk;
}

CLI::App& add_subcommand(CLI::App& view, Run& run, const char* name, const char* help,
                         const Shared& options) {
  CLI::App* command = view.add_subcommand(name, help);
  add_common_options(*command, options->common);
  options->request["command"] = std::string("view.") + name;
  command->callback([&run, options] { run = [options] { return run_view(*options); }; });
  return *command;
}

void add_name(CLI::App& command, const Shared& options) {
  command
      .add_option_function<std::string>(
          "NAME", [=](const std::string& name) { options->request["name"] = name; },
          "The view's name: letters, digits, '.', '_' and '-'")
      ->required();
}

}  // namespace

void add_view_command(CLI::App& app, Run& run) {
  CLI::App* view = app.add_subcommand(
      "view", "Views: what is particular to one guest or time namespace, kept by clockpaged");
  view->require_subcommand(1);
  for (const auto& [name, help] :
       {std::pair{"add", "Make a view, DIR/views/NAME"},
        std::pair{"set",
                  "Change what is given; another offset or ratio of the counter is a "
                  "disruption, to be made while the guest does not run"}}) {
    auto options = std::make_shared<ViewOptions>();
    CLI::App& command = add_subcommand(*view, run, name, help, options);
    add_name(command, options);
    add_clock_options(command, options);
    add_counter_options(command, options);
    add_file_options(command, options);
  }
  auto removal = std::make_shared<ViewOptions>();
  CLI::App& remove =
      add_subcommand(*view, run, "remove",
                     "Withdraw a view, so that nobody reads through it any more, and take its name "
                     "away",
                     removal);
  add_name(remove, removal);
  remove.add_flag_callback(
      "--keep", [=] { removal->request["keep"] = true; },
      "Take its name away alone: who has it mapped reads on. For views that are offsets of clocks "
      "alone: nobody follows what else it says");
  auto shown = std::make_shared<ViewOptions>();
  add_name(add_subcommand(*view, run, "show", "Say everything about one view", shown), shown);
  add_subcommand(*view, run, "list", "Say what views there are", std::make_shared<ViewOptions>());
  add_view_migration_commands(*view, run);
}

}  // namespace clockpage::tool
