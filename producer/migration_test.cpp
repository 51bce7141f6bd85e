// SPDX-License-Identifier: MIT
// Saving and restoring a view, each edge of it, on pages that can be checked by hand: both hosts'
// counters run at 2 GHz, their scaled pages are for 1 GHz. migration_sim_test.cpp has real ones.
#include "migration.hpp"

#include <clockpage/view.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "test_pages.hpp"
#include "test_seed.hpp"

namespace clockpage::producer {
namespace {

using Json = nlohmann::json;
constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kS = 1'000'000'000;
constexpr std::uint64_t kMarker = 0xabcdef;

std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const RegionError& e) {
    return e.what();
  }
  return "accepted";
}

// A host whose counter is `counter` 1 ms after its newest segment's start, at `tai_ns`, up for
// `up_s`.
class Host {
 public:
  explicit Host(std::uint64_t counter, std::int64_t tai_ns, std::int64_t up_s = 1000,
                std::uint32_t flags = CLOCKPAGE_SEGMENT_TAI_KNOWN)
      : counter_(counter), region_(plan(counter, tai_ns, up_s, flags)) {}

  test::region_image& region() { return region_; }
  clockpage_directory_page& directory() { return region_.directory(); }
  [[nodiscard]] std::uint64_t counter() const { return counter_; }

  SavedView save(const ViewState& state, std::int64_t later_ns = 0) {
    const auto page = view_image({7, 8}, directory().generation, 1000, kMarker, state);
    return save_view("guest", page, directory(), at(later_ns));
  }
  RestoredView restore(const SavedView& saved, const RestoreWish& wish = {},
                       std::int64_t later_ns = 0) {
    return restore_view(saved, wish, directory(), at(later_ns));
  }
  [[nodiscard]] std::uint64_t at(std::int64_t later_ns) const {
    return counter_ + static_cast<std::uint64_t>(2 * later_ns);
  }

 private:
  static test::region_plan plan(std::uint64_t counter, std::int64_t tai_ns, std::int64_t up_s,
                                std::uint32_t flags) {
    test::region_plan p;
    p.newest_start = counter - 2 * kMs;
    p.newest_tai_ns = static_cast<std::uint64_t>(tai_ns - kMs);
    p.monotonic_offset_ns = tai_ns - up_s * kS;
    p.boottime_offset_ns = tai_ns - (up_s + 30) * kS;
    p.flags = flags;
    p.period_ticks = 8'000'000;
    return p;
  }
  std::uint64_t counter_;
  test::region_image region_;
};

constexpr std::int64_t kTai = 1'800'000'037 * kS;

ViewState one_ghz_view() {
  ViewState state;
  state.counter_offset = -5;
  state.counter_ratio = test::half_ratio;
  state.counter_frac_bits = test::half_ratio_frac_bits;
  state.format = CLOCKPAGE_FORMAT_SCALED;
  state.monotonic_offset_ns = 7 * kS;
  state.boottime_offset_ns = -11 * kS;
  return state;
}

TEST(SaveViewTest, SaysEverythingAtOneCounterValue) {
  Host host(1'000'000'000'000, kTai);
  const SavedView saved = host.save(one_ghz_view());
  EXPECT_EQ(saved.host.counter, 1'000'000'000'000U);
  EXPECT_EQ(saved.view.guest_counter, 500'000'000'000U - 5);
  ASSERT_TRUE(saved.host.tai.has_value());
  EXPECT_EQ(saved.host.tai->ns, kTai);
  EXPECT_EQ(saved.host.tai->earliest_ns, kTai - 1002);
  EXPECT_EQ(saved.host.tai->latest_ns, kTai + 1002);
  EXPECT_EQ(saved.host.utc.ns, kTai - 37 * kS);
  EXPECT_EQ(saved.view.realtime.ns, kTai - 37 * kS);
  EXPECT_EQ(saved.view.monotonic.ns, 1007 * kS);
  EXPECT_EQ(saved.view.boottime.ns, 1019 * kS);
  EXPECT_EQ(saved.view.monotonic.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  EXPECT_EQ(saved.guest_khz, 1'000'000U);
  EXPECT_EQ(saved.guest_frequency_uhz, 1'000'000'000'000'000U);
  EXPECT_EQ(saved.disruption_marker, kMarker);
  EXPECT_EQ(saved.smear, kNoSmear);
}

TEST(SaveViewTest, KnowsTheGuestsFrequencyAsWellAsTheHostDoes) {
  Host host(1'000'000'000'000, kTai);
  host.region().page().diagnostics.source_frequency_hz = 2'000'000'123;
  EXPECT_EQ(host.save({}).guest_frequency_uhz, 2'000'000'123'000'000U);
  EXPECT_EQ(host.save(one_ghz_view()).guest_frequency_uhz, 1'000'000'061'500'000U);
  EXPECT_EQ(host.save(one_ghz_view()).guest_khz, 1'000'000U);
  host.region().page().diagnostics.source_frequency_hz = 1'900'000'000;  // no measurement
  EXPECT_EQ(host.save({}).guest_frequency_uhz, 2'000'000'000'000'000U);
}

TEST(SaveViewTest, FindsTheFrequencyThatKvmWasToldAgain) {
  Host host(1'000'000'000'000, kTai);
  for (const std::uint64_t khz : {1'000'001U, 1'234'567U, 1'999'000U, 2'999'999U, 4'700'001U})
    for (const std::uint8_t bits : {std::uint8_t{32}, std::uint8_t{48}}) {
      ViewState state;
      state.counter_ratio = static_cast<std::uint64_t>((clockpage_u128{khz} << bits) / 2'000'000);
      state.counter_frac_bits = bits;
      EXPECT_EQ(host.save(state).guest_khz, khz) << unsigned{bits};
    }
}

TEST(SaveViewTest, RefusesWhatHasNoRelationToTheHost) {
  Host host(1'000'000'000'000, kTai);
  ViewState state;
  state.counter_ratio = 0;
  EXPECT_EQ(refusal([&] { host.save(state); }),
            "is withdrawn: there is nothing that could be saved");
  state = {};
  state.parent_generation = 77;
  EXPECT_NE(refusal([&] { host.save(state); }).find("save that one"), std::string::npos);
  EXPECT_NE(refusal([&] { host.save({}, -100 * kMs); }).find("the region cannot be read"),
            std::string::npos);
}

// 2.5 s between the two hosts' TAI, at other counters, other offsets, another uptime.
TEST(RestoreViewTest, GoesOnWhereItWasPlusTheTimeThatHasPassed) {
  Host a(1'000'000'000'000, kTai);
  Host b(77'000'000'000'000, kTai + 5 * kS / 2, 5);
  const SavedView saved = a.save(one_ghz_view());
  const RestoredView r = b.restore(saved);
  EXPECT_EQ(r.elapsed_ns, 5 * kS / 2);
  EXPECT_TRUE(r.elapsed_by_tai);
  EXPECT_EQ(r.elapsed_bound_ns, 2004U);
  EXPECT_EQ(r.state.format, CLOCKPAGE_FORMAT_SCALED);
  EXPECT_EQ(r.state.counter_ratio, test::half_ratio);
  EXPECT_EQ(r.guest_counter, saved.view.guest_counter + 2'500'000'000U);
  EXPECT_EQ(r.state.counter_offset,
            static_cast<std::int64_t>(r.guest_counter) - 38'500'000'000'000);
  EXPECT_EQ(r.counter_error_ns, 0);
  EXPECT_EQ(r.guest_khz, 1'000'000U);
  const ViewMoment then = view_moment(b.directory(), r.state, b.counter());
  EXPECT_EQ(then.monotonic.ns, saved.view.monotonic.ns + r.elapsed_ns);
  EXPECT_EQ(then.boottime.ns, saved.view.boottime.ns + r.elapsed_ns);
  EXPECT_EQ(then.realtime.ns, saved.view.realtime.ns + r.elapsed_ns);
}

TEST(RestoreViewTest, HidesTheDowntimeFromTheLocalClocksAlone) {
  Host a(1'000'000'000'000, kTai);
  Host b(77'000'000'000'000, kTai + 5 * kS / 2, 5);
  const SavedView saved = a.save(one_ghz_view());
  RestoreWish wish;
  wish.count_downtime = false;
  const RestoredView r = b.restore(saved, wish);
  const ViewMoment then = view_moment(b.directory(), r.state, b.counter());
  EXPECT_EQ(then.monotonic.ns, saved.view.monotonic.ns);
  EXPECT_EQ(then.boottime.ns, saved.view.boottime.ns);
  EXPECT_EQ(then.realtime.ns, saved.view.realtime.ns + 5 * kS / 2);
  EXPECT_EQ(r.guest_counter, saved.view.guest_counter + 2'500'000'000U);
}

// Two clocks may be apart by both their errors: the new host's may read less than the old one's.
TEST(RestoreViewTest, TakesTimeThatSeemsToHaveGoneBackForNone) {
  Host a(1'000'000'000'000, kTai);
  Host b(77'000'000'000'000, kTai - 800);
  const SavedView saved = a.save(one_ghz_view());
  const RestoredView r = b.restore(saved);
  EXPECT_EQ(r.elapsed_ns, 0);
  EXPECT_EQ(r.guest_counter, saved.view.guest_counter);
  EXPECT_EQ(view_moment(b.directory(), r.state, b.counter()).monotonic.ns, saved.view.monotonic.ns);
}

TEST(RestoreViewTest, MeasuresByRealtimeWhereTaiIsUnknownOnEitherSide) {
  for (const bool first : {true, false}) {
    Host a(1'000'000'000'000, kTai, 1000, first ? 0 : CLOCKPAGE_SEGMENT_TAI_KNOWN);
    Host b(77'000'000'000'000, kTai + kS, 1000, first ? CLOCKPAGE_SEGMENT_TAI_KNOWN : 0);
    const SavedView saved = a.save({});
    EXPECT_EQ(saved.host.tai.has_value(), !first);
    const RestoredView r = b.restore(saved);
    EXPECT_FALSE(r.elapsed_by_tai);
    EXPECT_EQ(r.elapsed_ns, kS);
    EXPECT_EQ(json_of(r)["elapsed_by"], "realtime");
  }
}

TEST(RestoreViewTest, SaysWhereThereIsNoBound) {
  Host a(1'000'000'000'000, kTai);
  Host b(77'000'000'000'000, kTai + kS);
  for (unsigned back = 0; back < 2; back++)
    test::region_image::segment(b.region().page(), back).utc_bound_ns = CLOCKPAGE_BOUND_UNKNOWN;
  const RestoredView r = b.restore(a.save({}));
  EXPECT_FALSE(r.elapsed_bound_ns.has_value());
  EXPECT_TRUE(json_of(r)["elapsed_bound_ns"].is_null());
}

TEST(RestoreViewTest, ComputesTheRatioThatKvmWillUse) {
  Host a(1'000'000'000'000, kTai);
  Host b(77'000'000'000'000, kTai + kS);
  const auto with_khz = [&](std::uint32_t khz) {
    RestoreWish wish;
    wish.guest_khz = khz;
    return b.restore(a.save({}), wish);
  };
  EXPECT_EQ(with_khz(1'500'000).state.counter_ratio, std::uint64_t{3} << 30);
  EXPECT_EQ(with_khz(1'500'000).state.counter_frac_bits, 32);
  EXPECT_EQ(with_khz(1'500'000).state.format, CLOCKPAGE_FORMAT_UNSCALED);
  EXPECT_EQ(with_khz(1'500'000).guest_khz, 1'500'000U);
  // 250 ppm: not scaled.
  EXPECT_EQ(with_khz(2'000'500).state.counter_frac_bits, 0);
  EXPECT_EQ(with_khz(2'000'501).state.counter_frac_bits, 32);
  EXPECT_EQ(refusal([&] { with_khz(512'000'000); }),
            "no ratio makes the guest's 512000000 kHz of this host's 2000000 kHz: give "
            "counter_ratio and counter_frac_bits");
}

TEST(RestoreViewTest, TakesWhatTheVmmHasSetAndSaysHowFarItIsOff) {
  Host a(1'000'000'000'000, kTai);
  Host b(77'000'000'000'000, kTai + kS);
  const SavedView saved = a.save(one_ghz_view());
  const std::int64_t due = b.restore(saved).state.counter_offset;
  RestoreWish wish;
  wish.counter_offset = due + 12'345;
  RestoredView r = b.restore(saved, wish);
  EXPECT_EQ(r.state.counter_offset, due + 12'345);
  EXPECT_EQ(r.counter_error_ns, 12'345);  // 1 GHz
  // Time goes on by the clock all the same.
  EXPECT_EQ(view_moment(b.directory(), r.state, b.counter()).monotonic.ns,
            saved.view.monotonic.ns + kS);
  wish.counter_ratio = std::uint64_t{1} << 48;
  EXPECT_EQ(refusal([&] { b.restore(saved, wish); }),
            "a ratio and its fraction bits are given together");
  wish.counter_frac_bits = 48;
  wish.counter_offset.reset();
  r = b.restore(saved, wish);
  EXPECT_EQ(r.state.counter_ratio, 1U);  // one is one
  EXPECT_EQ(r.state.counter_frac_bits, 0);
  EXPECT_EQ(r.guest_khz, 2'000'000U);
  EXPECT_EQ(r.guest_counter, saved.view.guest_counter + 1'000'000'000U);
  wish.counter_frac_bits = 40;
  wish.counter_ratio = 3;
  EXPECT_EQ(refusal([&] { b.restore(saved, wish); }),
            "counter_frac_bits is 40, not 0, 32 (SVM) or 48 (VMX)");
}

TEST(RestoreViewTest, TakesASmearedViewToTheSameSmearOnly) {
  Host a(1'000'000'000'000, kTai);
  Host b(77'000'000'000'000, kTai + kS);
  ViewState state;
  state.smear = 1;
  const SavedView saved = a.save(state);
  EXPECT_EQ(saved.smear, kNoonSmear);
  EXPECT_EQ(b.restore(saved).state.smear, 1);
  for (clockpage_data_page* page : {&b.region().page(CLOCKPAGE_FORMAT_UNSCALED, 1),
                                    &b.region().page(CLOCKPAGE_FORMAT_SCALED, 1)}) {
    page->smear = CLOCKPAGE_SMEAR_UTC_SLS;
    page->smear_start_s = -1000;
    page->smear_length_s = 1000;
  }
  EXPECT_EQ(refusal([&] { b.restore(saved); }),
            "the view's REALTIME has smear noon and this host offers utc-sls: accept_smear takes "
            "that instead");
  RestoreWish wish;
  wish.accept_smear = true;
  EXPECT_EQ(b.restore(saved, wish).state.smear, 1);
  EXPECT_EQ(b.restore(a.save({})).state.smear, 0);  // no matter to a view without
}

TEST(RestoreViewTest, RefusesWhatNoViewMaySay) {
  Host a(1'000'000'000'000, kTai);
  Host b(77'000'000'000'000, kTai + kS);
  SavedView saved = a.save({});
  saved.view.monotonic.ns = 4'611'686'018 * kS;
  EXPECT_NE(refusal([&] { b.restore(saved); }).find("monotonic_offset_ns is"), std::string::npos);
  saved = a.save({});
  saved.counter_kind ^= 1;
  EXPECT_NE(refusal([&] { b.restore(saved); }).find("kind"), std::string::npos);
}

TEST(RestoredMarkerTest, IsNeitherTheSavedNorTheExistingOne) {
  SavedView saved;
  saved.disruption_marker = 5;
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; i++) seen.insert(restored_marker(saved, 6));
  EXPECT_EQ(seen.size(), 1000U);
  EXPECT_EQ(seen.count(5) + seen.count(6), 0U);
}

// ---- the document

Json document() {
  Host host(1'000'000'000'000, kTai);
  return json_of(host.save(one_ghz_view()));
}
std::string refusal_of_document(const Json& json) {
  return refusal([&] { (void)saved_view_of(json); });
}

TEST(SavedViewTest, ComesOutOfItsDocumentAsItWentIn) {
  const Json json = document();
  EXPECT_EQ(json_of(saved_view_of(Json::parse(json.dump()))), json);
  Json without = json;
  without["at"]["tai"] = nullptr;
  without["at"]["utc"]["earliest_ns"] = nullptr;
  without["at"]["utc"]["latest_ns"] = nullptr;
  EXPECT_EQ(json_of(saved_view_of(without)), without);
  EXPECT_FALSE(saved_view_of(without).host.tai.has_value());
  EXPECT_FALSE(saved_view_of(without).host.utc.bound_ns().has_value());
}

TEST(SavedViewTest, NamesWhatIsWrongWithIt) {
  const auto with = [](const char* pointer, const Json& value) {
    Json json = document();
    json[Json::json_pointer(pointer)] = value;
    return refusal_of_document(json);
  };
  EXPECT_EQ(with("/clockpage_saved_view", 2),
            "the saved view: clockpage_saved_view is version 2, not 1");
  EXPECT_EQ(with("/view/counter_ratio", 0),
            "the saved view: view.counter_ratio is 0, not 1 to 18446744073709551615");
  EXPECT_EQ(with("/view/counter_offset", 9223372036854775808U),
            "the saved view: view.counter_offset is not a whole number of 64 bits");
  EXPECT_EQ(with("/view/format", "other"), "the saved view: view.format is not unscaled or scaled");
  EXPECT_EQ(with("/view/smear", "noon"), "the saved view: view.smear is one of a view without");
  EXPECT_EQ(with("/at/guest_counter", -1),
            "the saved view: at.guest_counter is not a whole number, 0 or more, of 64 bits");
  EXPECT_EQ(with("/at/guest_counter", 1.5),
            "the saved view: at.guest_counter is not a whole number, 0 or more, of 64 bits");
  EXPECT_EQ(with("/at/monotonic/ns", -1),
            "the saved view: at.monotonic.ns is -1, not 0 to 4611686018000000000");
  EXPECT_EQ(with("/at/tai/latest_ns", nullptr), "the saved view: at.tai has one bound of two");
  EXPECT_EQ(with("/at/tai/status", "fine"), "the saved view: at.tai.status is no status");
  EXPECT_EQ(with("/view_id", "00"), "the saved view: view_id is not 32 hexadecimal digits");
  EXPECT_EQ(with("/host", "none"), "the saved view: host is not an object");
  EXPECT_EQ(with("/host/more", 1),
            "the saved view: host has a key of 4 bytes that this version does not know");
  EXPECT_EQ(with("/name", "../region").rfind("the saved view: name is none: ", 0), 0U);
  EXPECT_EQ(refusal_of_document(Json::array()), "the saved view: it is not an object");
}

void collect(const Json& json, const Json::json_pointer& at, std::vector<Json::json_pointer>& to) {
  for (const auto& [key, value] : json.items()) {
    to.push_back(at / key);
    if (value.is_object()) collect(value, at / key, to);
  }
}

TEST(SavedViewTest, LacksNoKey) {
  std::vector<Json::json_pointer> keys;
  collect(document(), Json::json_pointer(), keys);
  EXPECT_GT(keys.size(), 40U);
  for (const auto& key : keys) {
    Json json = document();
    json[key.parent_pointer()].erase(key.back());
    const std::string why = refusal_of_document(json);
    EXPECT_NE(why.find(key.back()), std::string::npos) << key.to_string() << ": " << why;
    EXPECT_NE(why.find("is missing"), std::string::npos) << why;
    json = document();
    json[key] = Json::array({1});
    EXPECT_NE(refusal_of_document(json), "accepted") << key.to_string();
  }
}

// Whatever numbers a document has: it is refused, or makes a view that is fit to be written.
TEST(SavedViewTest, MayBeAnybodys) {
  std::mt19937_64 random(seed_of_this_test());
  std::vector<Json::json_pointer> keys;
  collect(document(), Json::json_pointer(), keys);
  Host b(77'000'000'000'000, kTai + kS);
  int restored = 0;
  for (int i = 0; i < 10'000; i++) {
    Json json = document();
    for (unsigned changes = 1 + static_cast<unsigned>(random() % 3); changes > 0; changes--) {
      const auto& key = keys[random() % keys.size()];
      if (json[key].is_object()) continue;
      const std::uint64_t bits = random() >> (random() % 64);
      const std::vector<Json> values = {bits,       static_cast<std::int64_t>(bits),
                                        INT64_MIN,  INT64_MAX,
                                        UINT64_MAX, 0,
                                        1,          32,
                                        48,         nullptr,
                                        "noon",     true,
                                        1e300};
      json[key] = values[random() % values.size()];
    }
    RestoreWish wish;
    wish.count_downtime = random() % 2 != 0;
    wish.accept_smear = random() % 2 != 0;
    if (random() % 4 == 0) wish.counter_offset = static_cast<std::int64_t>(random());
    if (random() % 4 == 0) wish.guest_khz = static_cast<std::uint32_t>(random());
    try {
      const RestoredView r = b.restore(saved_view_of(json), wish);
      restored++;
      const ViewMoment then = view_moment(b.directory(), r.state, b.counter());
      EXPECT_GE(then.monotonic.ns, 0) << json;
      EXPECT_LE(then.monotonic.ns, 4'611'686'018 * kS) << json;
      EXPECT_GE(r.elapsed_ns, 0) << json;
      (void)json_of(r).dump();
    } catch (const RegionError&) {
    }
  }
  EXPECT_GT(restored, 100);
  EXPECT_LT(restored, 9'500);
}

}  // namespace
}  // namespace clockpage::producer
