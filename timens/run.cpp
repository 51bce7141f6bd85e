// SPDX-License-Identifier: MIT
//
// clockpage-timens run: a time namespace, the view of it, and a command in both.
#include <clockpage/clockpage.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "commands.hpp"
#include "daemon_views.hpp"
#include "launch.hpp"
#include "namespace.hpp"
#include "preload_environment.hpp"
#include "seconds.hpp"
#include "timens_offsets.hpp"

namespace clockpage::timens {
namespace {

struct RunOptions {
  std::string directory;
  std::string name;  // empty: timens-PID
  AskedOffsets offsets;
  bool smeared = false, unsmeared = false;  // neither: as the view outside
  bool guest = false;
  bool preload = false, quiet = false;
  std::vector<std::string> command;  // not empty
};

// A view, for as long as this lives.
class NamespaceView {
 public:
  NamespaceView(std::string directory, ViewFacts facts)
      : directory_(std::move(directory)), facts_(std::move(facts)) {}
  NamespaceView(const NamespaceView&) = delete;
  NamespaceView& operator=(const NamespaceView&) = delete;
  ~NamespaceView() {
    try {
      remove_view(directory_, facts_.name);
    } catch (const std::exception& error) {  // how the command ended is said all the same
      fmt::print(stderr, "{}: the view {} stays: {}\n", kProgram, facts_.name, error.what());
    }
  }
  const ViewFacts& facts() const { return facts_; }

 private:
  std::string directory_;
  ViewFacts facts_;
};

TimensOffsets offsets_or_throw(const std::variant<TimensOffsets, TimensRefusal>& read) {
  if (const auto* refusal = std::get_if<TimensRefusal>(&read))
    throw std::runtime_error(refusal->text);
  return std::get<TimensOffsets>(read);
}

// Whether the region is another machine's: of another boot than this kernel's. Nothing where there
// is no region.
std::optional<bool> is_other_machines(const std::string& directory) {
  clockpage_open_options options{};
  options.size = sizeof options;
  options.directory = directory.c_str();
  options.flags = CLOCKPAGE_OPEN_GUEST | CLOCKPAGE_OPEN_HOST_CLOCKS;
  clockpage_open_error error{};
  clockpage_region* opened = nullptr;
  if (clockpage_open(&options, &opened, &error) != CLOCKPAGE_OK) {
    if (error.saved_errno == ENOENT) return std::nullopt;  // the daemon will have more to say
    throw std::runtime_error(error.where);
  }
  const std::unique_ptr<clockpage_region, decltype(&clockpage_close)> region(opened,
                                                                             clockpage_close);
  std::uint8_t boot_id[16];
  if (clockpage_boot_id(boot_id) != CLOCKPAGE_OK)
    throw std::runtime_error(
        fmt::format("cannot tell this machine's boot id: {}", std::strerror(errno)));
  return std::memcmp(clockpage_directory_of(opened)->boot_id, boot_id, sizeof boot_id) != 0;
}

// In a guest any view is believed in, so that is to be said, and not where it is not so.
void check_machine(const RunOptions& options) {
  const std::optional<bool> other = is_other_machines(options.directory);
  if (!other || *other == options.guest) return;
  const std::string region = options.directory + "/" CLOCKPAGE_REGION_FILE;
  if (options.guest)
    throw std::runtime_error("--guest: " + region +
                             " is of the kernel that runs here: this is no guest of its machine");
  throw std::runtime_error(
      region + ": boot_id is not that of this boot of this machine (--guest: it is the host's)");
}

int run_command(const RunOptions& options) {
  Launcher launcher;  // before there is anything that must be taken away again
  const std::string library = options.preload ? preload_library() : "";
  check_machine(options);
  const bool smeared =
      options.smeared || (!options.unsmeared && outer_view_is_smeared(options.directory));
  make_time_namespace(options.offsets);
  const TimensOffsets made = offsets_or_throw(read_timens_offsets("self"));  // the children's
  const NamespaceView view(options.directory,
                           add_view(options.directory, options.name, made, smeared));
  set_region_environment(options.directory);
  set_view_environment(view.facts().path, ancestors_of(options.directory, view.facts()));
  if (options.preload)
    set_preload_environment(library, {.quiet = options.quiet, .guest = options.guest});
  return launcher.run(kProgram, options.command);
}

void add_offset_option(CLI::App& command, const std::string& name, std::optional<Seconds>& offset,
                       const std::string& help) {
  command
      .add_option_function<std::string>(
          name,
          [&offset, name](const std::string& text) {
            auto parsed = parse_seconds(text);
            if (const auto* wrong = std::get_if<std::string>(&parsed))
              throw CLI::ValidationError(name, *wrong);
            offset = std::get<Seconds>(parsed);
          },
          help)
      ->type_name("SEC");
}

}  // namespace

void add_run_command(CLI::App& app, Run& run, std::vector<std::string> rest) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand(
      "run",
      "Run a command in a new time namespace, and make the view that it reads pages through");
  add_offset_option(
      *command, "--monotonic", options->offsets.monotonic,
      "MONOTONIC and RAW there = the host's + SEC, which is decimal, may be negative, "
      "to the ns");
  add_offset_option(*command, "--boottime", options->offsets.boottime,
                    "BOOTTIME there = the host's + SEC");
  auto* smeared = command->add_flag("--smeared", options->smeared, "REALTIME of the smeared page");
  command->add_flag("--unsmeared", options->unsmeared, "REALTIME of the unsmeared page")
      ->excludes(smeared);
  command
      ->add_option("--name", options->name,
                   "Name of the view; default: timens- and this process's number")
      ->type_name("NAME");
  options->directory = CLOCKPAGE_DEFAULT_DIRECTORY;
  command->add_option("--dir", options->directory, "Directory of the region")
      ->envname(CLOCKPAGE_DIRECTORY_VARIABLE)
      ->type_name("DIR")
      ->capture_default_str();
  command->add_flag("--guest", options->guest,
                    "The region is another machine's, the host of this guest, and DIR's daemon "
                    "hands it through");
  auto* preload = command->add_flag("--preload", options->preload,
                                    "The command's own clock functions read the page, too: as "
                                    "clockpage run");
  command
      ->add_flag("--quiet", options->quiet,
                 "With --preload: no warning where the kernel's clocks are used")
      ->needs(preload);
  command->footer(
      "Usage: clockpage timens run [OPTIONS] -- COMMAND ARGUMENTS...\n"
      "Example: clockpage timens run --boottime 86400.5 --preload -- cat /proc/uptime\n\n"
      "The namespace is the kernel's, with its rules: it needs CAP_SYS_ADMIN, and CAP_SYS_TIME "
      "for\n"
      "offsets; no clock may become negative or pass 4611686018 s. Offsets are relative to the "
      "host's\n"
      "clocks, also inside another namespace; one that is not given is the same as there. The "
      "view\n"
      "is made by the daemon of DIR from what the kernel then says the offsets are; the command\n"
      "finds it by CLOCKPAGE_DIR and CLOCKPAGE_VIEW. Where $CLOCKPAGE_VIEW is set already, the "
      "new\n"
      "view is smeared if that one is, unless it is told otherwise; its clocks have nothing of "
      "it.\n"
      "With --guest what the command reads itself, without --preload, must be opened as a "
      "guest's,\n"
      "too (CLOCKPAGE_OPEN_GUEST).\n\n"
      "Signals are passed on. The view is taken away when the command has ended; what it left\n"
      "running keeps the view if it has opened it. Who kills this program by SIGKILL leaves the "
      "view\n"
      "behind: clockpage view remove NAME, with --keep where something still runs there.\n\n"
      "Exit code: the command's, or 128 + n if signal n ended it; 127 it was not found, 126 it "
      "could\n"
      "not be run; 1 no namespace or no view, 2 usage.");
  command->callback([&run, options, rest = std::move(rest)] {
    if (rest.empty())
      throw CLI::ValidationError("run", "no command is given: -- COMMAND ARGUMENTS");
    options->command = rest;
    run = [options] { return run_command(*options); };
  });
}

}  // namespace clockpage::timens
