// SPDX-License-Identifier: MIT
//
// clockpage view save, clockpage view restore: a guest's view goes to another host with it.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "commands.hpp"
#include "control_client.hpp"
#include "exit_code.hpp"
#include "whole_file.hpp"

namespace clockpage::tool {
namespace {

using Json = nlohmann::json;

// What a request may be long, and so a document.
constexpr std::size_t kMostDocumentBytes = 16384;

struct MigrationOptions {
  CommonOptions common;
  std::string file = "-";
  Json request = Json::object();
};
using Shared = std::shared_ptr<MigrationOptions>;

Json ask_daemon(const MigrationOptions& options, const Json& request) {
  try {
    return ask(options.common.directory, request);
  } catch (const ControlError& error) {
    throw Failure("", error.what());
  }
}

std::string dumped(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// At most kMostDocumentBytes of a file; "-": of standard input.
std::string contents_of(const std::string& file) {
  const std::string name = file == "-" ? "standard input" : file;
  const int fd = file == "-" ? STDIN_FILENO : open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw Failure(name, std::strerror(errno));
  std::string text;
  std::array<char, 4096> buffer{};
  ssize_t length = 0;
  do {
    length = read(fd, buffer.data(), buffer.size());
    if (length > 0) text.append(buffer.data(), static_cast<std::size_t>(length));
  } while ((length > 0 && text.size() <= kMostDocumentBytes) || (length < 0 && errno == EINTR));
  const int error = errno;
  if (fd != STDIN_FILENO) close(fd);
  if (length < 0) throw Failure(name, std::strerror(error));
  if (text.size() > kMostDocumentBytes)
    throw Failure(name, fmt::format("is longer than {} bytes", kMostDocumentBytes));
  return text;
}

int save(const MigrationOptions& options) {
  const Json answer = ask_daemon(options, options.request);
  const auto saved = answer.find("saved");
  if (saved == answer.end() || !saved->is_object())
    throw Failure(options.common.directory, "clockpaged's answer is not understood");
  const std::string text = dumped(*saved);
  if (options.file == "-") {
    fmt::print("{}", text);
    return kOk;
  }
  WholeFile file(options.file);
  file.write(text.data(), text.size());
  file.finish();
  return kOk;
}

std::string restored_text(const Json& answer) {
  const Json& r = answer.at("restored");
  const Json& bound = r.at("elapsed_bound_ns");
  return fmt::format(
      "view          {}\n"
      "time passed   {} ns by {}, {}\n"
      "set           KVM_VCPU_TSC_OFFSET to {}, on every vCPU\n"
      "ratio         {} / 2^{}, of a guest with {} kHz: KVM must have made the same\n"
      "guest counter {} at the host's {}, {} ns ahead of where it would be\n",
      answer.at("view").at("name").get<std::string>(), r.at("elapsed_ns").get<std::int64_t>(),
      r.at("elapsed_by") == "tai" ? "TAI" : "REALTIME (TAI is not known; leap seconds are missing)",
      bound.is_null() ? "without a bound" : fmt::format("to {} ns", bound.get<std::uint64_t>()),
      r.at("counter_offset").get<std::int64_t>(), r.at("counter_ratio").get<std::uint64_t>(),
      r.at("counter_frac_bits").get<unsigned>(), r.at("guest_khz").get<std::uint64_t>(),
      r.at("guest_counter").get<std::uint64_t>(), r.at("host_counter").get<std::uint64_t>(),
      r.at("counter_error_ns").get<std::int64_t>());
}

int restore(const MigrationOptions& options) {
  Json request = options.request;
  const std::string text = contents_of(options.file);
  Json saved = Json::parse(text, nullptr, false);
  if (!saved.is_object())
    throw Failure(options.file == "-" ? "standard input" : options.file,
                  "is not what `clockpage view save` writes");
  request["saved"] = std::move(saved);
  const Json answer = ask_daemon(options, request);
  try {
    fmt::print("{}", options.common.json ? dumped(answer) : restored_text(answer));
  } catch (const Json::exception&) {
    throw Failure(options.common.directory, "clockpaged's answer is not understood");
  }
  return kOk;
}

template <typename Integer>
CLI::Option* add_number(CLI::App& command, const Shared& options, const char* name, const char* key,
                        const char* help, Integer low = std::numeric_limits<Integer>::min()) {
  return command
      .add_option_function<std::string>(
          name,
          [=](const std::string& text) {
            Integer value = 0;
            const auto [end, error] =
                std::from_chars(text.data(), text.data() + text.size(), value);
            if (error != std::errc() || end != text.data() + text.size() || value < low)
              throw CLI::ValidationError(
                  name, fmt::format("{}: must be an integer from {} to {}", text, low,
                                    std::numeric_limits<Integer>::max()));
            options->request[key] = value;
          },
          help)
      ->type_name("N");
}

CLI::App& add_subcommand(CLI::App& view, Run& run, const char* name, const char* help,
                         const Shared& options, int (*act)(const MigrationOptions&)) {
  CLI::App* command = view.add_subcommand(name, help);
  add_common_options(*command, options->common);
  options->request["command"] = std::string("view.") + name;
  command->callback([&run, options, act] { run = [options, act] { return act(*options); }; });
  command
      ->add_option_function<std::string>(
          "NAME", [=](const std::string& text) { options->request["name"] = text; },
          "The view's name")
      ->required();
  return *command;
}

void add_restore_options(CLI::App& command, const Shared& options) {
  command.add_option("--in", options->file, "What view save has written (default: standard input)")
      ->type_name("FILE");
  command
      .add_option_function<std::string>(
          "--downtime", [=](const std::string& how) { options->request["downtime"] = how; },
          "Whether MONOTONIC and BOOTTIME count the time that has passed since")
      ->check(CLI::IsMember({"count", "hide"}).description(""))
      ->type_name("count|hide")
      ->required();
  command.add_flag_callback(
      "--accept-smear", [=] { options->request["accept_smear"] = true; },
      "Take this host's smear, though it is another one");
  CLI::Option* offset = add_number<std::int64_t>(
      command, options, "--tsc-offset", "counter_offset",
      "The VMM has set this KVM_VCPU_TSC_OFFSET (default: it is computed, and printed)");
  CLI::Option* ratio =
      add_number<std::uint64_t>(command, options, "--tsc-ratio", "counter_ratio",
                                "The ratio that KVM uses here (default: computed as KVM does)");
  CLI::Option* bits =
      command
          .add_option_function<int>(
              "--frac-bits", [=](int n) { options->request["counter_frac_bits"] = n; },
              "Its fraction bits: 0, 32 (SVM) or 48 (VMX)")
          ->check(CLI::IsMember({0, 32, 48}).description(""))
          ->type_name("BITS");
  ratio->needs(bits);
  bits->needs(ratio);
  add_number<std::uint32_t>(command, options, "--guest-khz", "guest_khz",
                            "What KVM_SET_TSC_KHZ is told (default: what it was before)", 1'000);
  CLI::Option* pid = add_number<int>(
      command, options, "--vm-pid", "vm_pid",
      "The VMM has set all of that: take it from this KVM process, once a second from then on", 1);
  add_number<int>(command, options, "--vm-fd", "vm_fd",
                  "Which VM of that process: its descriptor there", 0)
      ->needs(pid);
  for (CLI::Option* by_hand : {offset, ratio, bits}) pid->excludes(by_hand);
}

}  // namespace

void add_view_migration_commands(CLI::App& view, Run& run) {
  auto options = std::make_shared<MigrationOptions>();
  CLI::App& save_command = add_subcommand(
      view, run, "save", "Write down a view for another host, while its guest is paused", options,
      save);
  save_command.add_option("--out", options->file, "Where to (default: standard output)")
      ->type_name("FILE");
  options = std::make_shared<MigrationOptions>();
  add_restore_options(
      add_subcommand(view, run, "restore",
                     "Make a saved view here, or change the one of that name, before its guest "
                     "resumes; says what the VMM is to set",
                     options, restore),
      options);
}

}  // namespace clockpage::tool
