// SPDX-License-Identifier: MIT
#include "view_request.hpp"

#include <gtest/gtest.h>

#include <string>

namespace clockpage::producer {
namespace {

std::string refusal_of(const std::string& line) {
  try {
    parse_request(line);
  } catch (const RequestError& e) {
    return e.what();
  }
  return "accepted";
}

// A view.add of "a" with something more.
std::string add(const std::string& more) {
  return R"({"version":1,"command":"view.add","name":"a",)" + more + "}";
}

TEST(ViewRequestTest, TakesEveryFieldAtBothEndsOfItsRange) {
  const ViewRequest most = parse_request(
      add(R"("counter_offset":9223372036854775807,"counter_ratio":18446744073709551615,)"
          R"("counter_frac_bits":48,"format":"scaled","smeared":true,)"
          R"("monotonic_offset_ns":9223372036854775807,"boottime_offset_ns":-9223372036854775808,)"
          R"("vm_pid":2147483647,"vm_fd":0,"parent":"b","mode":"0444","uid":4294967294,"gid":0)"));
  EXPECT_EQ(most.command, "view.add");
  EXPECT_EQ(most.name, "a");
  EXPECT_EQ(most.view.counter_offset, INT64_MAX);
  EXPECT_EQ(most.view.counter_ratio, UINT64_MAX);
  EXPECT_EQ(most.view.counter_frac_bits, 48);
  EXPECT_EQ(most.view.format, FormatChoice::scaled);
  EXPECT_EQ(most.view.smeared, true);
  EXPECT_EQ(most.view.monotonic_offset_ns, INT64_MAX);
  EXPECT_EQ(most.view.boottime_offset_ns, INT64_MIN);
  EXPECT_EQ(most.view.vm_pid, INT32_MAX);
  EXPECT_EQ(most.view.vm_fd, 0);
  EXPECT_EQ(most.view.parent, "b");
  EXPECT_EQ(most.file.mode, 0444u);
  EXPECT_EQ(most.file.uid, 4294967294u);
  EXPECT_EQ(most.file.gid, 0u);
  EXPECT_EQ(parse_request(add(R"("counter_offset":-9223372036854775808)")).view.counter_offset,
            INT64_MIN);
}

TEST(ViewRequestTest, SaysNothingOfWhatIsNotGiven) {
  const ViewRequest none = parse_request(R"({"command":"view.set","name":"a","version":1})");
  EXPECT_EQ(none.view, ViewFields());
  EXPECT_FALSE(none.file.mode || none.file.uid || none.file.gid);
  EXPECT_EQ(parse_request(R"({"command":"view.list","version":1})").command, "view.list");
}

TEST(ViewRequestTest, RefusesWhatIsNoRequest) {
  EXPECT_EQ(refusal_of(""), "the request is not JSON: at byte 1");
  EXPECT_EQ(refusal_of("{"), "the request is not JSON: at byte 2");
  EXPECT_EQ(refusal_of("[1]"), "the request is not a JSON object");
  EXPECT_EQ(refusal_of("{}{}"), "the request is not JSON: at byte 3");
  EXPECT_EQ(refusal_of("{\"\xff\":1}"), "the request is not JSON: at byte 3");
  EXPECT_EQ(refusal_of(std::string("{\0}", 3)), "the request is not JSON: at byte 2");
  EXPECT_EQ(refusal_of(R"({"a":1e999})"), "the request is not JSON: a number is out of range");
  EXPECT_EQ(refusal_of("{}"), "version: is missing");
  EXPECT_EQ(refusal_of(R"({"version":2})"), "version is 2: this clockpaged knows 1");
  EXPECT_EQ(refusal_of(R"({"version":1})"), "command: is missing");
  EXPECT_EQ(refusal_of(R"({"version":1,"command":"view.burn"})"),
            "command is \"view.burn\": there is no such command");
  EXPECT_EQ(refusal_of(R"({"version":1,"command":"view.show"})"), "name: is missing");
}

TEST(ViewRequestTest, RefusesKeysThatItDoesNotKnowOrThatAreThereTwice) {
  EXPECT_EQ(refusal_of(add(R"("colour":1)")), "colour: view.add has no such key");
  EXPECT_EQ(refusal_of(R"({"version":1,"command":"view.list","name":"a"})"),
            "name: view.list has no such key");
  EXPECT_EQ(refusal_of(R"({"version":1,"command":"view.remove","name":"a","uid":1})"),
            "uid: view.remove has no such key");
  EXPECT_EQ(refusal_of(R"({"version":1,"command":"view.show","name":"a","keep":true})"),
            "keep: view.show has no such key");
  EXPECT_EQ(refusal_of(R"({"version":1,"command":"view.remove","name":"a","keep":1})"),
            "keep is 1: must be true or false");
  EXPECT_EQ(refusal_of(add(R"("uid":1,"uid":1)")), "uid: is there twice");
  EXPECT_EQ(refusal_of(add(R"("uid":{"a":1,"a":2})")), "a: is there twice");
  // Once in each of two objects is not twice.
  EXPECT_EQ(refusal_of(add(R"("x":{"a":1},"y":{"a":1})")), "x: view.add has no such key");
  EXPECT_EQ(refusal_of(add("\"a\\u001b[31m\\n" + std::string(200, 'b') + "\":1")),
            "a?[31m?" + std::string(57, 'b') + "...: view.add has no such key");
}

TEST(ViewRequestTest, RefusesNesting) {
  EXPECT_EQ(refusal_of(std::string(8000, '[')), "the request is nested more than 4 deep");
  EXPECT_EQ(refusal_of(R"({"a":[[[1]]]})"), "version: is missing");
  EXPECT_EQ(refusal_of(R"({"a":[[[[1]]]]})"), "the request is nested more than 4 deep");
  EXPECT_EQ(refusal_of(R"({"a":{"b":{"c":{"d":{}}}}})"), "the request is nested more than 4 deep");
}

TEST(ViewRequestTest, RefusesOffsetsToClocksThatLeap) {
  for (const char* key : {"realtime_offset_ns", "tai_offset_ns"})
    EXPECT_EQ(refusal_of(add('"' + std::string(key) + "\":0")),
              std::string(key) +
                  ": an offset to REALTIME or TAI has no meaning across a leap second; there is "
                  "none");
}

TEST(ViewRequestTest, RefusesEveryValueOfAnotherTypeOrRange) {
  const auto refused = [](const std::string& field, const std::string& naming) {
    const std::string line = refusal_of(add(field));
    EXPECT_EQ(line.rfind(naming, 0), 0u) << field << ": " << line;
    EXPECT_GE(line.size(), naming.size());
  };
  for (const char* key :
       {"counter_offset", "counter_ratio", "counter_frac_bits", "monotonic_offset_ns",
        "boottime_offset_ns", "vm_pid", "vm_fd", "uid", "gid"})
    for (const char* value : {"null", "true", "\"1\"", "1.0", "1e2", "[1]", "{}",
                              "18446744073709551616", "-9223372036854775809"})
      refused('"' + std::string(key) + "\":" + value, std::string(key) + " is ");
  for (const char* key : {"mode", "format", "parent"})
    for (const char* value : {"null", "true", "1", "[]"})
      refused('"' + std::string(key) + "\":" + value, std::string(key) + " is ");
  refused(R"("name2":1)", "name2");
  refused(R"("smeared":1)", "smeared is 1: must be true or false");
  refused(R"("counter_ratio":-1)", "counter_ratio is -1: must be an integer from 0");
  refused(R"("counter_offset":9223372036854775808)", "counter_offset is 9223372036854775808");
  refused(R"("counter_frac_bits":33)", "counter_frac_bits is 33: must be 0, 32 (SVM) or 48 (VMX)");
  refused(R"("counter_frac_bits":49)", "counter_frac_bits is 49");
  refused(R"("vm_pid":0)", "vm_pid is 0");
  refused(R"("vm_fd":-1)", "vm_fd is -1");
  refused(R"("uid":4294967295)", "uid is 4294967295");  // "none", to chown(2)
  refused(R"("format":"Scaled")", "format is \"Scaled\": must be auto, unscaled or scaled");
  for (const char* mode : {"", "4", "444444", "0888", "-444", " 444", "0x1f"})
    refused(R"("mode":")" + std::string(mode) + '"', "mode is ");
  for (const char* mode : {"0666", "0755", "4444", "0646"})
    refused(R"("mode":")" + std::string(mode) + '"', "mode is " + std::string(mode) + ": a view");
}

TEST(ViewRequestTest, ReadsBackWhatItWritesOfAViewsOrigin) {
  const ViewRequest request = parse_request(
      add(R"("counter_offset":-1,"counter_ratio":3,"counter_frac_bits":32,"format":"auto",)"
          R"("smeared":false,"monotonic_offset_ns":5,"vm_pid":7,"vm_fd":8,"parent":"b")"));
  EXPECT_EQ(fields_from(json_of(request.view)), request.view);
  EXPECT_EQ(fields_from(json_of(ViewFields())), ViewFields());
  EXPECT_THROW(fields_from({{"uid", 1}}), RequestError);
  EXPECT_THROW(fields_from(1), RequestError);
}

}  // namespace
}  // namespace clockpage::producer
