// SPDX-License-Identifier: MIT
//
// clockpage convert: given instants from one time scale to the others, exactly.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "commands.hpp"
#include "exit_code.hpp"
#include "leap_options.hpp"
#include "time_scales.hpp"

namespace clockpage::tool {
namespace {

using Json = nlohmann::ordered_json;

// Longer than any instant that can be right.
constexpr size_t kLongestLine = 200;

enum class Scale { kUtc, kTai, kRealtime, kSmeared, kAll };
constexpr std::array<const char*, 5> kScaleNames = {"utc", "tai", "realtime", "smeared", "all"};

// As it was written: whether there was such an instant, the table decides later.
struct Given {
  std::string text;
  Scale scale = Scale::kUtc;
  UtcTime utc;          // kUtc
  std::int64_t ns = 0;  // of the others
};

struct ConvertOptions {
  bool json = false;
  Scale from = Scale::kUtc;
  Scale to = Scale::kAll;
  Smear smear = kNoonSmear;
  std::string leap_table = kLeapTablePath;
  std::vector<std::string> words;
  std::vector<Given> instants;  // of words, but for "-"
  bool from_stdin = false;
};

// One answer: an instant, and what is to be said of it.
struct Answer {
  std::int64_t tai_ns = 0;
  bool next_too = false;  // the smeared clock reads the same at the next ns
};

std::optional<Given> parse_given(const std::string& text, Scale scale, std::string* reason) {
  Given given{text, scale, {}, 0};
  if (scale == Scale::kUtc) {
    const auto utc = parse_utc(text, reason);
    if (!utc) return {};
    given.utc = *utc;
    return given;
  }
  // Of the others, numbers too: what programs print.
  auto ns = parse_seconds(text, reason);
  if (!ns && text.find(':') != text.npos) {
    if (scale == Scale::kTai) {
      ns = parse_tai(text, reason);
    } else if (const auto utc = parse_utc(text, reason)) {
      if (utc->leap_second)
        *reason = fmt::format("{} has no 23:59:60", kScaleNames[static_cast<size_t>(scale)]);
      else
        ns = utc->posix_ns();
    }
  }
  if (!ns) return {};
  given.ns = *ns;
  return given;
}

std::vector<Answer> answers_of(const std::optional<TaiInstants>& found) {
  std::vector<Answer> answers;
  if (!found) return answers;
  for (const std::int64_t tai_ns : found->tai_ns) answers.push_back({tai_ns, found->next_too});
  return answers;
}

// None: *reason says why.
std::vector<Answer> find(const TimeScales& scales, const Given& given, std::string* reason) {
  switch (given.scale) {
    case Scale::kUtc:
      if (const auto tai_ns = scales.tai_from_utc(given.utc, reason)) return {{*tai_ns, false}};
      return {};
    case Scale::kTai:
      if (TimeScales::covers(given.ns)) return {{given.ns, false}};
      *reason = given.ns < TimeScales::kFirstTai
                    ? "is before 1972-01-01T00:00:10 TAI, where UTC as it is now begins"
                    : "is after 2116-02-20, where the pages' time ends";
      return {};
    case Scale::kRealtime:
      *reason = "never was: that second was deleted";
      return answers_of(scales.tai_from_realtime(given.ns, reason));
    default:
      *reason = "is passed over: this smeared clock is faster than TAI there";
      return answers_of(scales.tai_from_smeared(given.ns, reason));
  }
}

class Converter {
 public:
  explicit Converter(const ConvertOptions& options)
      : options_(options),
        table_(load_leap_table(options.leap_table)),
        scales_(table_.leaps(), options.smear) {}

  // Prints, or keeps it for finish(). Throws Failure: there is no such instant. `place` says where
  // it was given.
  void convert(const Given& given, const std::string& place);
  void finish();

 private:
  bool past_expiry(std::int64_t tai_ns) const {
    return scales_.utc(tai_ns).posix_s >= table_.expires_s();
  }
  // REALTIME there is read at two instants: 1, this is the first of them, or 2, the second. Else 0.
  unsigned counted_twice(std::int64_t tai_ns) const;
  std::string text_of(Scale scale, std::int64_t tai_ns) const;
  void print(const Answer& answer);
  Json json_of(const Answer& answer) const;

  const ConvertOptions& options_;
  LeapTable table_;
  TimeScales scales_;
  Json instants_ = Json::array();
  bool expired_ = false;  // an instant was past the expiry
  bool printed_ = false;
};

void Converter::convert(const Given& given, const std::string& place) {
  std::string reason;
  const std::vector<Answer> answers = find(scales_, given, &reason);
  if (answers.empty()) throw Failure("", fmt::format("{}: {}", place, reason));
  for (const Answer& answer : answers) expired_ |= past_expiry(answer.tai_ns);
  if (options_.json) {
    Json json;
    json["given"] = given.text;
    for (const Answer& answer : answers) json["results"].push_back(json_of(answer));
    instants_.push_back(std::move(json));
    return;
  }
  for (const Answer& answer : answers) print(answer);
}

unsigned Converter::counted_twice(std::int64_t tai_ns) const {
  std::string reason;
  const auto same = scales_.tai_from_realtime(scales_.realtime(tai_ns), &reason);
  if (!same || same->tai_ns.size() < 2) return 0;
  return tai_ns == same->tai_ns.front() ? 1 : 2;
}

std::string Converter::text_of(Scale scale, std::int64_t tai_ns) const {
  switch (scale) {
    case Scale::kUtc:
      return utc_text(scales_.utc(tai_ns));
    case Scale::kTai:
      return tai_text(tai_ns);
    case Scale::kRealtime:
      return seconds_text(scales_.realtime(tai_ns));
    default: {
      const std::int64_t ns = scales_.smeared(tai_ns);
      return utc_text({ns / kNsPerSecond, static_cast<std::int32_t>(ns % kNsPerSecond), false});
    }
  }
}

void Converter::print(const Answer& answer) {
  if (options_.to != Scale::kAll) {
    fmt::print("{}\n", text_of(options_.to, answer.tai_ns));
    return;
  }
  const UtcTime utc = scales_.utc(answer.tai_ns);
  const std::int64_t smeared = scales_.smeared(answer.tai_ns);
  const std::int64_t realtime = utc.posix_ns();
  if (printed_) fmt::print("\n");
  printed_ = true;
  fmt::print("UTC       {}{}\n", utc_text(utc),
             utc.leap_second ? "      (the inserted leap second)" : "");
  fmt::print("TAI       {}   {} s\n", tai_text(answer.tai_ns), seconds_text(answer.tai_ns));
  constexpr std::array<const char*, 3> kTwice = {"", "      (counted twice: the first time)",
                                                 "      (counted twice: the second time)"};
  fmt::print("REALTIME  {} s{}\n", seconds_text(realtime), kTwice[counted_twice(answer.tai_ns)]);
  fmt::print("smeared   {}      ({}{}{})\n", text_of(Scale::kSmeared, answer.tai_ns),
             smear_name(options_.smear),
             scales_.in_smear(answer.tai_ns) ? fmt::format(", in the smear: {} s off REALTIME",
                                                           seconds_text(smeared - realtime))
                                             : "",
             answer.next_too ? "; so reads the next ns of TAI too" : "");
  fmt::print(
      "TAI - UTC {} s{}\n", (answer.tai_ns - realtime) / kNsPerSecond - (utc.leap_second ? 1 : 0),
      past_expiry(answer.tai_ns) ? "      (past the table's expiry: as far as is known)" : "");
}

Json Converter::json_of(const Answer& answer) const {
  const UtcTime utc = scales_.utc(answer.tai_ns);
  Json json;
  json["utc"] = utc_text(utc);
  json["leap_second"] = utc.leap_second;
  json["tai"] = text_of(Scale::kTai, answer.tai_ns);
  json["tai_ns"] = answer.tai_ns;
  json["realtime_ns"] = utc.posix_ns();
  json["realtime_ambiguous"] = counted_twice(answer.tai_ns) != 0;
  json["smeared"] = text_of(Scale::kSmeared, answer.tai_ns);
  json["smeared_ns"] = scales_.smeared(answer.tai_ns);
  json["in_smear"] = scales_.in_smear(answer.tai_ns);
  json["smeared_at_next_ns_too"] = answer.next_too;
  json["past_expiry"] = past_expiry(answer.tai_ns);
  return json;
}

void Converter::finish() {
  if (options_.json) {
    Json json;
    json["from"] = kScaleNames[static_cast<size_t>(options_.from)];
    json["smear"] = smear_name(options_.smear);
    json["leap_table"] = options_.leap_table;
    json["leap_table_updated_s"] = table_.updated_s();
    json["leap_table_expires_s"] = table_.expires_s();
    json["instants"] = std::move(instants_);
    fmt::print("{}\n", json.dump(2));
  } else if (expired_) {
    std::fflush(stdout);
    fmt::print(stderr,
               "clockpage: {}: note: expired on {}: leap seconds since then are not in it\n",
               options_.leap_table, date_text(table_.expires_s()));
  }
}

// Line by line, without the line's end. False: there are no more.
bool next_line(std::string& line, bool& too_long) {
  line.clear();
  too_long = false;
  int c = 0;
  while ((c = std::getc(stdin)) != EOF && c != '\n') {
    if (line.size() < kLongestLine)
      line += static_cast<char>(c);
    else
      too_long = true;
    if (too_long) return true;
  }
  return c == '\n' || !line.empty();
}

void convert_stdin(const ConvertOptions& options, Converter& converter) {
  std::string line;
  bool too_long = false;
  for (unsigned number = 1; next_line(line, too_long); number++) {
    const std::string place = fmt::format("stdin:{}", number);
    std::string reason = "is too long";
    const auto given = too_long ? std::nullopt : parse_given(line, options.from, &reason);
    if (!given) throw Failure(place, reason);
    converter.convert(*given, place);
  }
  if (std::ferror(stdin)) throw Failure("stdin", std::strerror(errno));
}

int run_convert(const ConvertOptions& options) {
  Converter converter(options);
  for (const Given& given : options.instants) converter.convert(given, given.text);
  if (options.from_stdin) convert_stdin(options, converter);
  converter.finish();
  return kOk;
}

// Wrong words are a wrong command line. With --from, so once all is known.
void parse_words(ConvertOptions& options) {
  options.from_stdin = options.words == std::vector<std::string>{"-"};
  if (options.from_stdin) return;
  for (const std::string& word : options.words) {
    std::string reason;
    const auto given = parse_given(word, options.from, &reason);
    if (!given) throw CLI::ValidationError(word.substr(0, kLongestLine), reason);
    options.instants.push_back(*given);
  }
}

void add_scale_option(CLI::App& command, const char* name, Scale& scale, size_t names,
                      const std::string& help) {
  command
      .add_option_function<std::string>(
          name,
          [&scale, name, names](const std::string& text) {
            const auto* end = kScaleNames.begin() + names;
            const auto* found = std::find(kScaleNames.begin(), end, text);
            if (found == end)
              throw CLI::ValidationError(
                  name, fmt::format("no time scale '{}': utc, tai, realtime{} smeared{}", text,
                                    names > 4 ? "," : " or", names > 4 ? " or all" : ""));
            scale = static_cast<Scale>(found - kScaleNames.begin());
          },
          help)
      ->type_name("SCALE");
}

}  // namespace

void add_convert_command(CLI::App& app, Run& run) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand(
      "convert",
      "Convert given instants between UTC, TAI, REALTIME (UTC as POSIX counts) and a "
      "smeared clock, exactly; no page is needed");
  command
      ->add_option("INSTANT", options->words,
                   "2016-12-31T23:59:60.25Z; not for utc: 2017-01-01T00:00:36.25 (tai), "
                   "1483228799.25 (s), 1483228799250000000ns; - alone: lines of stdin")
      ->type_name("")
      ->required();
  add_scale_option(*command, "--from", options->from, 4,
                   "What is given: utc [default], tai, realtime or smeared");
  add_scale_option(*command, "--to", options->to, 5,
                   "What to print: utc, tai, realtime, smeared or all [default]");
  add_smear_option(*command, options->smear,
                   "noon [default], utc-sls, linear:START:LENGTH (s, from the midnight after the "
                   "leap second) or none");
  add_leap_table_option(*command, options->leap_table);
  command->add_flag("--json", options->json, "Print exactly one JSON object, in raw units");
  command->callback([&run, options] {
    parse_words(*options);
    run = [options] { return run_convert(*options); };
  });
}

}  // namespace clockpage::tool
