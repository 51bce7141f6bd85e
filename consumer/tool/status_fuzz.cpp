// SPDX-License-Identifier: MIT
//
// Fuzz target: what `clockpage status` and `clockpage read` print of an arbitrary region, for
// people and as JSON: one text without control characters, one JSON object, or a Failure of one
// line.
//
// Input: one byte of flags, then changes to a valid region (tests/fuzz_region.hpp).
#include <clockpage/clockpage.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../test_pages.hpp"
#include "command_line.hpp"
#include "exit_code.hpp"
#include "fuzz.hpp"
#include "fuzz_region.hpp"

namespace clockpage::tool {
namespace {

constexpr unsigned kRead = 1, kJson = 2, kLive = 4, kRequireSync = 8;

// Everything on stdout and stderr while it lives.
class Output {
 public:
  Output() : out_(stdout), err_(stderr) { stdout = stderr = open_memstream(&text_, &size_); }
  ~Output() {
    if (stdout != out_) finish();
    std::free(text_);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  std::string_view finish() {
    std::fclose(stdout);
    stdout = out_;
    stderr = err_;
    return {text_, size_};
  }

 private:
  std::FILE *out_, *err_;
  char* text_ = nullptr;
  std::size_t size_ = 0;
};

void check_text(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    CLOCKPAGE_FUZZ_CHECK((byte >= 0x20 && byte < 0x7f) || byte == '\n');
  }
}

void run_command(unsigned flags, const std::string& directory) {
  std::vector<std::string> words = {"clockpage", (flags & kRead) != 0 ? "read" : "status", "--dir",
                                    directory};
  if ((flags & kJson) != 0) words.emplace_back("--json");
  if ((flags & kRequireSync) != 0) words.emplace_back("--require-sync");
  fuzz::Arguments arguments(std::move(words));
  Run run;
  CLOCKPAGE_FUZZ_CHECK(parse_command_line(arguments.count(), arguments.pointers(), run) == kOk);
  std::string text;
  try {
    Output output;
    const int code = run();
    text = output.finish();
    CLOCKPAGE_FUZZ_CHECK(code == kOk || (code == kNotSynchronised && (flags & kRequireSync) != 0) ||
                         code == kFailed);
    check_text(text);
    if ((flags & kJson) == 0 || code != kOk) return;
  } catch (const Failure& failure) {
    const std::string_view line = failure.what();
    check_text(line);
    CLOCKPAGE_FUZZ_CHECK(!line.empty() && line.find('\n') == line.npos);
    return;
  }
  CLOCKPAGE_FUZZ_CHECK(nlohmann::json::accept(text));
}

}  // namespace
}  // namespace clockpage::tool

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage;
  static const test::temporary_directory directory;
  clockpage::fuzz::Input input(data, size);
  const auto flags = input.take<std::uint8_t>();
  test::region_image region =
      (flags & tool::kLive) != 0 ? test::region_image(test::live_plan()) : test::region_image();
  clockpage::fuzz::patch_region(input, region.bytes(), 16);
  directory.write(CLOCKPAGE_REGION_FILE, region.bytes());
  tool::run_command(flags, directory.path().string());
  return 0;
}
