// SPDX-License-Identifier: MIT
//
// clockpage plot leap: a picture of what REALTIME does at a leap second.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "commands.hpp"
#include "exit_code.hpp"
#include "gnuplot.hpp"
#include "leap_options.hpp"
#include "leap_plot.hpp"
#include "utc_time.hpp"
#include "whole_file.hpp"

namespace clockpage::tool {
namespace {

struct PlotLeapOptions {
  std::int64_t day_s = 0;  // POSIX seconds with which the day begins
  std::string svg;
  Smear smear = kNoonSmear;
  std::string leap_table = kLeapTablePath;
  int imaginary = 0;  // +1 insertion, -1 deletion, 0: the table's
};

LeapSecond leap_of(const PlotLeapOptions& options) {
  const LeapTable table = load_leap_table(options.leap_table);
  const std::int64_t midnight = options.day_s + 86'400;
  if (options.imaginary != 0) {
    const auto before = table.tai_minus_utc_s(midnight - 1);
    if (!before || midnight < LeapTable::kBegin + 100 * 86'400)
      throw Failure("", date_text(options.day_s) + ": UTC as it is now begins in 1972");
    return {midnight, *before, *before + options.imaginary};
  }
  for (const std::int64_t at : {midnight, options.day_s})
    if (const auto leap = table.next_after(at - 1); leap && leap->utc_s == at) return *leap;
  throw Failure(options.leap_table,
                fmt::format("has no leap second at the end of {} (an imaginary one: --insert or "
                            "--delete)",
                            date_text(options.day_s)));
}

int run_plot_leap(const PlotLeapOptions& options) {
  const LeapSecond leap = leap_of(options);
  WholeFile out(options.svg);
  const std::string drawn = run_gnuplot(leap_plot_script(leap, options.smear));
  out.write(drawn.data(), drawn.size());
  out.finish();
  return kOk;
}

}  // namespace

void add_plot_command(CLI::App& app, Run& run) {
  auto options = std::make_shared<PlotLeapOptions>();
  CLI::App* plot = app.add_subcommand("plot", "Draw pictures, with gnuplot");
  plot->require_subcommand(1);
  CLI::App* command = plot->add_subcommand(
      "leap", "Draw what REALTIME does at a leap second, unsmeared and smeared");
  command
      ->add_option_function<std::string>(
          "--at",
          [options](const std::string& text) {
            std::string reason;
            const auto day = parse_date(text, &reason);
            if (!day) throw CLI::ValidationError("--at", reason);
            options->day_s = *day;
          },
          "The day of UTC that ends with the leap second, or the one after it: 2016-12-31")
      ->type_name("DATE")
      ->required();
  command->add_option("--svg", options->svg, "Where to put the picture")
      ->type_name("FILE")
      ->required();
  add_smear_option(*command, options->smear,
                   "noon [default], utc-sls, linear:START:LENGTH (s, from the midnight after the "
                   "leap second) or none");
  add_leap_table_option(*command, options->leap_table);
  auto* insert = command->add_flag_callback(
      "--insert", [options] { options->imaginary = 1; },
      "Imagine that DATE ends with 23:59:60, whatever the table says");
  command
      ->add_flag_callback(
          "--delete", [options] { options->imaginary = -1; }, "Imagine that it ends with 23:59:58")
      ->excludes(insert);
  command->callback([&run, options] { run = [options] { return run_plot_leap(*options); }; });
}

}  // namespace clockpage::tool
