// SPDX-License-Identifier: MIT
#include "leap_plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "time_scales.hpp"

namespace clockpage::tool {
namespace {

constexpr double kNs = 1e9;

// A moment that is marked by a vertical line and named above.
struct Mark {
  std::int64_t tai_ns;
  std::string label;  // lines, separated by the two characters \n
};

class LeapPlot {
 public:
  LeapPlot(const LeapSecond& leap, const Smear& smear)
      : leap_(leap), smear_(smear), scales_({leap}, smear), offset_(leap_offset(leap, smear)) {
    const std::int64_t first = std::min(offset_.start_ns, leap.tai_ns());
    const std::int64_t last = std::max(offset_.end_ns, leap.tai_ns() + kNsPerSecond);
    const std::int64_t around = std::max((last - first) / 8, 5 * kNsPerSecond);
    begin_ = first - around;
    end_ = last + around;
  }

  std::string script() const;

 private:
  bool smears() const { return smear_.length_s != 0; }
  bool insertion() const { return leap_.after_s > leap_.before_s; }
  // Seconds since the leap: what the axis counts.
  double x(std::int64_t tai_ns) const { return static_cast<double>(tai_ns - leap_.tai_ns()) / kNs; }
  // How far a clock is from where it would be without the leap second, s.
  double from_tai(std::int64_t clock, std::int64_t tai_ns) const {
    return static_cast<double>(clock - (tai_ns - leap_.before_s * kNsPerSecond)) / kNs;
  }
  std::string time_text(std::int64_t tai_ns) const;
  std::vector<Mark> marks() const;
  std::vector<std::int64_t> samples() const;
  std::string data() const;
  std::string ticks(bool labels) const;
  std::string title() const;
  std::string mark_lines(bool labels) const;

  LeapSecond leap_;
  Smear smear_;
  TimeScales scales_;
  UtcOffset offset_;
  std::int64_t begin_, end_;  // of what is drawn, TAI
};

// UTC's time of day, without a fraction that is zero.
std::string LeapPlot::time_text(std::int64_t tai_ns) const {
  std::string text = utc_text(scales_.utc(tai_ns));
  text.pop_back();
  text.erase(0, text.find('T') + 1);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text += "0";
  if (text.ends_with(".0")) text.erase(text.size() - 2);
  return text;
}

// Those that would be printed over each other are one.
std::vector<Mark> LeapPlot::marks() const {
  std::vector<Mark> all = {{leap_.tai_ns(), insertion() ? "leap second" : "without 23:59:59"}};
  if (smears()) {
    all.push_back({offset_.start_ns, "smear starts"});
    all.push_back({offset_.start_ns + (offset_.end_ns - offset_.start_ns) / 2, "middle"});
    all.push_back({offset_.end_ns, "smear ends"});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Mark& a, const Mark& b) { return a.tai_ns < b.tai_ns; });
  std::vector<Mark> merged;
  for (Mark& mark : all) {
    if (insertion() || mark.tai_ns != leap_.tai_ns()) mark.label += "  " + time_text(mark.tai_ns);
    if (!merged.empty() && mark.tai_ns - merged.back().tai_ns < (end_ - begin_) / 5)
      merged.back().label += "\\n" + mark.label;
    else
      merged.push_back(mark);
  }
  return merged;
}

std::vector<std::int64_t> LeapPlot::samples() const {
  std::vector<std::int64_t> at;
  for (int i = 0; i <= 200; i++) at.push_back(begin_ + (end_ - begin_) / 200 * i);
  for (const std::int64_t kink : {offset_.start_ns, leap_.tai_ns(), offset_.end_ns})
    at.insert(at.end(), {kink - 1, kink});
  std::sort(at.begin(), at.end());
  return at;
}

// Columns: x, unsmeared from TAI, smeared from TAI, smeared from unsmeared.
std::string LeapPlot::data() const {
  std::string text = "$clocks << END\n";
  for (const std::int64_t tai_ns : samples()) {
    const std::int64_t unsmeared = scales_.realtime(tai_ns);
    const std::int64_t smeared = scales_.smeared(tai_ns);
    text += fmt::format("{:.9f} {:.9f} {:.9f} {:.9f}\n", x(tai_ns), from_tai(unsmeared, tai_ns),
                        from_tai(smeared, tai_ns), static_cast<double>(smeared - unsmeared) / kNs);
  }
  return text + "END\n";
}

// At round times of UTC; the date stands below the first and below midnight.
std::string LeapPlot::ticks(bool labels) const {
  constexpr std::array<std::int64_t, 18> kSteps = {1,    2,    5,     10,    20,    30,
                                                   60,   120,  300,   600,   1200,  1800,
                                                   3600, 7200, 21600, 43200, 86400, 4 * 86400};
  const std::int64_t length = (end_ - begin_) / kNsPerSecond;
  const auto* const found = std::find_if(kSteps.begin(), kSteps.end() - 1,
                                         [=](std::int64_t step) { return length / step <= 9; });
  const std::int64_t step = *found;
  std::string text;
  bool dated = false;
  const std::int64_t first = scales_.realtime(begin_) / kNsPerSecond / step * step + step;
  for (std::int64_t s = first; s * kNsPerSecond < scales_.realtime(end_); s += step) {
    const std::int64_t offset = s >= leap_.utc_s ? leap_.after_s : leap_.before_s;
    const std::int64_t day_second = s % 86400;
    std::string label = fmt::format("{:02}:{:02}", day_second / 3600, day_second / 60 % 60);
    if (step < 60) label += fmt::format(":{:02}", day_second % 60);
    if (!dated || day_second == 0) label += "\\n" + date_text(s);
    dated = true;
    if (!labels) label.clear();
    text += fmt::format("{}\"{}\" {:.9f}", text.empty() ? "" : ", ", label,
                        x((s + offset) * kNsPerSecond));
  }
  return text;
}

std::string LeapPlot::title() const {
  std::string text = fmt::format(
      "Leap second of {}: {}, TAI - UTC {} s to {} s", date_text(leap_.utc_s - 1),
      insertion() ? "23:59:60 is inserted" : "23:59:59 is deleted", leap_.before_s, leap_.after_s);
  if (!smears()) return text;
  const double ppm = 1e6 * kNs / static_cast<double>(offset_.end_ns - offset_.start_ns);
  text += fmt::format("; smear {}: {:.{}f} ppm {}", smear_name(smear_), ppm, ppm < 100 ? 3 : 0,
                      insertion() ? "slower" : "faster");
  return text;
}

std::string LeapPlot::mark_lines(bool labels) const {
  std::string text;
  std::vector<std::int64_t> at = {leap_.tai_ns()};
  if (smears()) {
    at.push_back(offset_.start_ns);
    at.push_back(offset_.start_ns + (offset_.end_ns - offset_.start_ns) / 2);
    at.push_back(offset_.end_ns);
  }
  for (const std::int64_t tai_ns : at)
    text += fmt::format(
        "set arrow from {0:.9f}, graph 0 to {0:.9f}, graph 1 nohead lw 1 dt (4,4) lc '#888888' "
        "back\n",
        x(tai_ns));
  if (!labels) return text;
  for (const Mark& mark : marks()) {
    const auto lines =
        static_cast<double>(std::count(mark.label.begin(), mark.label.end(), '\\')) + 1;
    text += fmt::format("set label \"{}\" at {:.9f}, graph {:.3f} center\n", mark.label,
                        x(mark.tai_ns), 1.05 + 0.09 * (lines - 1));
  }
  return text;
}

std::string LeapPlot::script() const {
  std::string text =
      "set encoding utf8\n"
      "set terminal svg size 1000,680 dynamic noenhanced font 'sans-serif,13' "
      "background 'white'\n";
  text += data();
  text += fmt::format("set multiplot\nset xrange [{:.9f}:{:.9f}]\n", x(begin_), x(end_));
  text +=
      "set ytics 0.25 nomirror out\nset border 3\nset grid ytics lc '#dddddd' lt 1\n"
      "set lmargin at screen 0.10\nset rmargin at screen 0.97\n";
  text +=
      fmt::format("set label 1 \"{}\" at screen 0.53, screen 0.965 center font ',15'\n", title());
  text += mark_lines(true);
  // Where there is no line.
  text += fmt::format(
      "set yrange [{}]\nset ylabel 'REALTIME against TAI, change in s'\n"
      "set key at graph 0.02, graph {} left Left reverse samplen 3\nset tmargin at screen 0.83\n",
      insertion() ? "-1.15:0.15" : "-0.15:1.15", insertion() ? "0.3" : "0.8");
  const std::string step =
      "$clocks using 1:2 with lines lw 2.5 lc '#1f4e79' title 'unsmeared REALTIME'";
  const std::string bottom = fmt::format(
      "set bmargin at screen 0.13\nset xlabel 'UTC' offset 0,-0.7\nset xtics ({}) nomirror out\n",
      ticks(true));
  if (!smears()) return text + bottom + "plot " + step + "\nunset multiplot\n";
  text +=
      fmt::format("set xtics ({}) nomirror out\nset bmargin at screen 0.45\nplot ", ticks(false));
  text += step +
          ", $clocks using 1:3 with lines lw 2.5 lc '#d95f02' title 'smeared REALTIME'\n"
          "unset label\nunset arrow\n";
  text += mark_lines(false) + bottom;
  text +=
      "set yrange [*:*]\nset offsets graph 0, graph 0, graph 0.12, graph 0.12\n"
      "set tmargin at screen 0.41\nset ylabel 'smeared - unsmeared, s'\n"
      "plot $clocks using 1:4 with lines lw 2.5 lc '#1b7837' notitle\nunset multiplot\n";
  return text;
}

}  // namespace

std::string leap_plot_script(const LeapSecond& leap, const Smear& smear) {
  return LeapPlot(leap, smear).script();
}

}  // namespace clockpage::tool
