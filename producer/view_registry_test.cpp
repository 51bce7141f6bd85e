// SPDX-License-Identifier: MIT
#include "view_registry.hpp"

#include <clockpage/view.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "test_pages.hpp"

namespace clockpage::producer {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t kS = 1'000'000'000;

std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const RegionError& e) {
    return e.what();
  }
  return "accepted";
}

// A VM whose counter somebody reads, for as long as it can be read.
struct FakeVm {
  std::int64_t offset = 1000;
  bool known = true;
  ViewSource::Doubt doubt{};
  int asked = 0;
  std::function<void()> meanwhile = [] {};  // what happens while it is read
};

class FakeSource final : public ViewSource {
 public:
  explicit FakeSource(FakeVm& vm) : vm_(vm) {}
  void apply(ViewState& state, const ViewRegistry&) override {
    vm_.asked++;
    vm_.meanwhile();
    if (!vm_.known) throw RegionError("the VM is gone");
    state.counter_offset = vm_.offset;
  }
  [[nodiscard]] Doubt doubt() const override { return vm_.doubt; }
  [[nodiscard]] Json json() const override { return {{"kind", "fake"}}; }

 private:
  FakeVm& vm_;
};

// What goes on as another view does, 1 s ahead.
class FakeChild final : public ViewSource {
 public:
  explicit FakeChild(std::string parent) : parent_(std::move(parent)) {}
  void apply(ViewState& state, const ViewRegistry& views) override {
    const ViewSnapshot parent = views.current(parent_);
    if (parent.withdrawn()) throw RegionError("its parent is withdrawn");
    state.counter_offset = parent.state.counter_offset;
    state.monotonic_offset_ns = parent.state.monotonic_offset_ns + kS;
    state.parent_generation = parent.number;
  }
  [[nodiscard]] Json json() const override { return {{"kind", "child"}, {"parent", parent_}}; }

 private:
  std::string parent_;
};

class ViewRegistryTest : public testing::Test {
 protected:
  [[nodiscard]] const clockpage_directory_page& region() const {
    return *reinterpret_cast<const clockpage_directory_page*>(region_.bytes().data());
  }
  ViewRegistry make() {
    return {directory_.path(), region(), [this](const std::string& line) { said_.push_back(line); },
            [this](const ViewFields& fields, const Json& /*memory*/) {
              ViewSources sources;
              if (fields.vm_pid) sources.push_back(std::make_unique<FakeSource>(vm_));
              if (fields.parent) sources.push_back(std::make_unique<FakeChild>(*fields.parent));
              return sources;
            }};
  }
  [[nodiscard]] fs::path file(const std::string& name) const {
    return directory_.path() / "views" / name;
  }
  [[nodiscard]] fs::path record(const std::string& name) const {
    return directory_.path() / "view-sources" / (name + ".json");
  }
  // What there is in the directory of views, hidden files as well.
  [[nodiscard]] std::vector<std::string> files(const char* part = "views") const {
    std::vector<std::string> found;
    if (fs::exists(directory_.path() / part))
      for (const auto& entry : fs::directory_iterator(directory_.path() / part))
        found.push_back(entry.path().filename());
    std::sort(found.begin(), found.end());
    return found;
  }

  test::temporary_directory directory_;
  test::region_image region_{test::live_plan()};
  FakeVm vm_;
  std::vector<std::string> said_;
};

ViewFields monotonic(std::int64_t ns) {
  ViewFields fields;
  fields.monotonic_offset_ns = ns;
  return fields;
}

ViewFields of_vm() {
  ViewFields fields;
  fields.vm_pid = 1;
  return fields;
}

ViewFields child_of(const char* parent) {
  ViewFields fields;
  fields.parent = parent;
  return fields;
}

TEST_F(ViewRegistryTest, MakesAViewThatAReaderReadsThrough) {
  ViewRegistry views = make();
  const Json added = views.add("a", monotonic(1000 * kS), {});
  EXPECT_EQ(added["state"], "ok");
  EXPECT_EQ(added["source"]["kind"], "given");
  EXPECT_EQ(added["view_id"].get<std::string>().size(), 32u);
  EXPECT_EQ(views.show("a"), added);
  EXPECT_EQ(views.list(), Json::array({added}));
  const ViewFile view = ViewFile::open(directory_.path(), "a", region());
  clockpage_view_reader reader{};
  ASSERT_EQ(clockpage_view_reader_init(&reader, &view.page(), 4096, region_.bytes().data(), 32768),
            CLOCKPAGE_OK);
  std::int64_t ns = 0;
  ASSERT_EQ(clockpage_view_now(&reader, CLOCKPAGE_MONOTONIC, &ns), CLOCKPAGE_OK);
  EXPECT_GT(ns, view_limits(region()).monotonic_ns + 999 * kS);
}

TEST_F(ViewRegistryTest, TwoViewsShareNeitherIdentityNorNumberNorMarker) {
  ViewRegistry views = make();
  const Json a = views.add("a", {}, {});
  const Json b = views.add("b", {}, {});
  for (const char* key : {"view_id", "number", "disruption_marker"}) EXPECT_NE(a[key], b[key]);
  views.remove("a");
  const Json again = views.add("a", {}, {});
  for (const char* key : {"view_id", "number", "disruption_marker"}) EXPECT_NE(a[key], again[key]);
}

TEST_F(ViewRegistryTest, ASetChangesWhatIsGivenAndTheMarkerWithTheRelationAlone) {
  ViewRegistry views = make();
  ViewFields fields = monotonic(5);
  fields.counter_offset = 7;
  fields.smeared = true;
  const Json before = views.add("a", fields, {});
  const std::uint64_t number = before["number"];
  const std::uint64_t marker = before["disruption_marker"];
  Json after = views.set("a", monotonic(6), {});
  EXPECT_EQ(after["monotonic_offset_ns"], 6);
  EXPECT_EQ(after["counter_offset"], 7);
  EXPECT_EQ(after["smeared"], true);
  EXPECT_EQ(after["number"], number + 1);
  EXPECT_EQ(after["disruption_marker"], marker);
  ViewFields moved;
  moved.counter_offset = 8;
  after = views.set("a", moved, {});
  EXPECT_EQ(after["monotonic_offset_ns"], 6);
  EXPECT_EQ(after["disruption_marker"], marker + 1);
  EXPECT_EQ(views.set("a", moved, {}), after);  // nothing new, so no new slot
}

TEST_F(ViewRegistryTest, ChoosesTheFormatByTheRatioUnlessItIsGiven) {
  ViewRegistry views = make();
  ViewFields fields;
  EXPECT_EQ(views.add("one", fields, {})["format"], "unscaled");
  fields.counter_ratio = test::half_ratio;
  fields.counter_frac_bits = test::half_ratio_frac_bits;
  EXPECT_EQ(views.add("scaled", fields, {})["format"], "scaled");
  fields.counter_ratio = test::half_ratio + 1;
  EXPECT_EQ(views.add("other", fields, {})["format"], "unscaled");
  // The choice follows the ratio, where it was none of the user's.
  EXPECT_EQ(views.set("scaled", fields, {})["format"], "unscaled");
  fields.counter_ratio = test::half_ratio;
  fields.format = FormatChoice::unscaled;
  EXPECT_EQ(views.add("forced", fields, {})["format"], "unscaled");
  fields.counter_ratio = 12345;
  fields.format = FormatChoice::scaled;
  EXPECT_NE(refusal([&] { views.add("wrong", fields, {}); }).find("the scaled page is made for"),
            std::string::npos);
}

TEST_F(ViewRegistryTest, RefusesWithOneLineAndLeavesNothingBehind) {
  ViewRegistry views = make();
  const Json a = views.add("a", {}, {});
  EXPECT_EQ(refusal([&] { views.add("a", {}, {}); }),
            file("a").string() + ": there is such a view already");
  EXPECT_EQ(refusal([&] { views.add("../a", {}, {}); }), "a view's name does not begin with a dot");
  EXPECT_EQ(refusal([&] { views.add("a/b", {}, {}); }),
            "a view's name consists of letters, digits, '.', '_' and '-'");
  ViewFields zero;
  zero.counter_ratio = 0;
  EXPECT_EQ(refusal([&] { views.add("b", zero, {}); }), "counter_ratio is 0");
  EXPECT_EQ(refusal([&] { views.set("a", zero, {}); }), "counter_ratio is 0");
  EXPECT_NE(refusal([&] { views.add("b", monotonic(INT64_MIN), {}); }).find("monotonic_offset_ns"),
            std::string::npos);
  const std::string missing = file("b").string() + ": there is no such view";
  EXPECT_EQ(refusal([&] { views.set("b", {}, {}); }), missing);
  EXPECT_EQ(refusal([&] { (void)views.show("b"); }), missing);
  EXPECT_EQ(refusal([&] { views.remove("b"); }),
            file("b").string() + ": cannot be removed: No such file or directory");
  EXPECT_EQ(files(), std::vector<std::string>{"a"});
  EXPECT_EQ(views.show("a"), a);
}

TEST_F(ViewRegistryTest, GivesAFileItsModeAndOwner) {
  ViewRegistry views = make();
  views.add("a", {}, {});
  FileFields closed;
  closed.mode = 0600;
  views.add("b", {}, closed);
  struct stat status {};
  ASSERT_EQ(stat(file("a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0644u);
  ASSERT_EQ(stat(file("b").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  closed.mode = 0640;
  EXPECT_EQ(views.set("b", {}, closed)["mode"], "0640");
  if (geteuid() != 0) {
    closed.mode = 0444;
    EXPECT_NE(refusal([&] { views.add("c", {}, closed); }).find("could not change the view"),
              std::string::npos);
    return;
  }
  FileFields others;
  others.uid = 12345;
  others.gid = 12346;
  const Json given = views.set("b", {}, others);
  EXPECT_EQ(given["mode"], "0440");  // an owner could write it otherwise
  EXPECT_EQ(given["uid"], 12345);
  EXPECT_EQ(given["gid"], 12346);
  EXPECT_EQ(views.add("c", {}, others)["mode"], "0444");
  others.mode = 0644;
  EXPECT_EQ(refusal([&] { views.add("d", {}, others); }),
            "mode is 0644: uid 12345 could write its own view: 0444 at most");
  EXPECT_EQ(views.set("c", monotonic(1), {})["monotonic_offset_ns"], 1);
}

TEST_F(ViewRegistryTest, ARecordThatCannotBeWrittenLeavesViewAndFileAsTheyWere) {
  ViewRegistry views = make();
  const Json before = views.add("a", monotonic(5), {});
  std::ofstream(directory_.path() / "view-sources") << "in the way";
  FileFields closed;
  closed.mode = 0600;
  ViewFields fields = of_vm();
  fields.monotonic_offset_ns = 6;
  EXPECT_NE(refusal([&] { views.set("a", fields, closed); }).find("view-sources"),
            std::string::npos);
  EXPECT_EQ(views.show("a"), before);
  EXPECT_NE(refusal([&] { views.add("b", fields, closed); }), "accepted");
  EXPECT_EQ(files(), std::vector<std::string>{"a"});
}

TEST_F(ViewRegistryTest, ShowsAViewOfAnEarlierRegionAsStaleAndOnlyRemovesIt) {
  const std::uint64_t earlier = region().generation + 1;
  ViewFile::create(directory_.path(), "old", view_image({7}, earlier, 1000, 1, {}), 0644);
  ViewRegistry views = make();
  EXPECT_EQ(views.show("old")["state"], "stale");
  EXPECT_EQ(refusal([&] { views.set("old", monotonic(1), {}); }),
            file("old").string() +
                ": is stale: it belongs to an earlier region; remove it and add it anew");
  EXPECT_EQ(views.show("old")["number"], 1000);
  views.remove("old");
  EXPECT_EQ(views.list(), Json::array());
}

TEST_F(ViewRegistryTest, ListsWhatIsNoViewAsBrokenAndLeavesItUntilItIsRemoved) {
  fs::create_directory(directory_.path() / "views");
  std::ofstream(file("junk")) << "junk";
  fs::create_symlink("/etc/passwd", file("link"));
  ASSERT_EQ(mkfifo(file("pipe").c_str(), 0600), 0);
  ViewRegistry views = make();
  const Json list = views.list();
  ASSERT_EQ(list.size(), 3u);
  for (const Json& view : list) EXPECT_EQ(view["state"], "broken");
  EXPECT_EQ(list[0]["error"], file("junk").string() + ": size is 4 bytes, not 4096");
  for (const char* name : {"junk", "link", "pipe"}) {
    EXPECT_NE(refusal([&] { views.set(name, monotonic(1), {}); }), "accepted");
    EXPECT_NE(refusal([&] { views.add(name, {}, {}); }), "accepted");
    views.remove(name);
  }
  EXPECT_TRUE(files().empty());
  EXPECT_TRUE(fs::exists("/etc/passwd"));
}

TEST_F(ViewRegistryTest, GoesOnWithWhatAnEarlierOneMade) {
  const Json a = make().add("a", monotonic(5), {});
  ViewRegistry views = make();
  EXPECT_EQ(views.show("a"), a);
  EXPECT_EQ(views.set("a", monotonic(6), {})["number"], a["number"].get<std::uint64_t>() + 1);
}

TEST_F(ViewRegistryTest, TakesAwayWhatWasLeftHalfDone) {
  {
    ViewRegistry views = make();
    views.add("vm", of_vm(), {});
    views.add("gone", of_vm(), {});
  }
  std::ofstream(file(".a.123")) << "half";
  std::ofstream(record(".vm.json.new").replace_extension()) << "{";
  fs::remove(file("gone"));
  // A view of that name that is another one.
  fs::copy_file(record("vm"), record("other"));
  ViewFile::create(directory_.path(), "other", view_image({9}, region().generation, 5, 1, {}),
                   0644);
  ViewRegistry views = make();
  EXPECT_EQ(files(), (std::vector<std::string>{"other", "vm"}));
  EXPECT_EQ(files("view-sources"), std::vector<std::string>{"vm.json"});
  EXPECT_EQ(views.show("vm")["source"]["kind"], "fake");
  EXPECT_EQ(views.show("other")["source"]["kind"], "given");
}

TEST_F(ViewRegistryTest, FollowsASourceAndWithdrawsTheViewWhileItCannotBeRead) {
  ViewRegistry views = make();
  const Json added = views.add("vm", of_vm(), {});
  const std::uint64_t marker = added["disruption_marker"];
  EXPECT_EQ(added["counter_offset"], 1000);
  EXPECT_EQ(added["source"]["kind"], "fake");
  views.poll();
  EXPECT_EQ(views.show("vm"), added);  // asked, and nothing is new
  EXPECT_EQ(vm_.asked, 2);
  vm_.offset = 2000;
  views.poll();
  EXPECT_EQ(views.show("vm")["counter_offset"], 2000);
  EXPECT_EQ(views.show("vm")["disruption_marker"], marker + 1);
  vm_.known = false;
  views.poll();
  views.poll();
  Json view = views.show("vm");
  EXPECT_EQ(view["state"], "withdrawn");
  EXPECT_EQ(view["counter_ratio"], 0);
  EXPECT_EQ(view["error"], "the VM is gone");
  EXPECT_EQ(view["disruption_marker"], marker + 2);
  EXPECT_EQ(said_, std::vector<std::string>{"view vm is withdrawn: the VM is gone"});
  EXPECT_EQ(refusal([&] { views.set("vm", monotonic(1), {}); }), "the VM is gone");
  EXPECT_EQ(refusal([&] { views.add("vm2", of_vm(), {}); }), "the VM is gone");
  EXPECT_EQ(files("view-sources"), std::vector<std::string>{"vm.json"});
  vm_.known = true;
  views.poll();
  view = views.show("vm");
  EXPECT_EQ(view["state"], "ok");
  EXPECT_EQ(view["disruption_marker"], marker + 3);
  EXPECT_FALSE(view.contains("error"));
}

TEST_F(ViewRegistryTest, ARegionThatCannotBeReadIsNoReasonToDisruptAnybody) {
  ViewRegistry views = make();
  const Json added = views.add("vm", of_vm(), {});
  auto* bytes = const_cast<std::byte*>(region_.bytes().data());
  auto* page = reinterpret_cast<clockpage_data_page*>(bytes + CLOCKPAGE_PAGE_SIZE);
  page->revoked = CLOCKPAGE_REVOKED_REPLACED;
  views.poll();
  EXPECT_EQ(views.show("vm"), added);
  EXPECT_NE(refusal([&] { views.add("b", {}, {}); }).find("the region cannot be read"),
            std::string::npos);
}

TEST_F(ViewRegistryTest, AfterARestartASourceIsReadBeforeAnybodyIsAnswered) {
  make().add("vm", of_vm(), {});
  vm_.offset = 3000;
  EXPECT_EQ(make().show("vm")["counter_offset"], 3000);
  vm_.known = false;
  EXPECT_EQ(make().show("vm")["state"], "withdrawn");
}

TEST_F(ViewRegistryTest, WithdrawsAViewWhoseRecordCannotBeRead) {
  make().add("vm", of_vm(), {});
  for (const char* text :
       {"", "{", "{}", "[]", R"({"version":2})", R"({"version":"1","view_id":7})"}) {
    std::ofstream(record("vm")) << text;
    ViewRegistry views = make();
    EXPECT_EQ(views.show("vm")["state"], "withdrawn") << text;
    ASSERT_FALSE(said_.empty());
    EXPECT_NE(said_[0].find("view vm is withdrawn: "), std::string::npos);
    EXPECT_EQ(said_[0].find('\n'), std::string::npos);
  }
}

TEST_F(ViewRegistryTest, TriesAgainToWithdrawWhatCouldNotBeWithdrawn) {
  ViewRegistry views = make();
  views.add("vm", of_vm(), {});
  const fs::path away = directory_.path() / "away";
  vm_.known = false;
  vm_.meanwhile = [&] { fs::rename(file("vm"), away); };
  views.poll();
  fs::rename(away, file("vm"));
  vm_.meanwhile = [] {};
  EXPECT_EQ(views.show("vm")["state"], "ok");
  ASSERT_EQ(said_.size(), 1u);
  EXPECT_NE(said_[0].find("but cannot be"), std::string::npos);
  views.poll();
  views.poll();
  EXPECT_EQ(views.show("vm")["state"], "withdrawn");
  ASSERT_EQ(said_.size(), 2u);
  EXPECT_EQ(said_[1], "view vm is withdrawn: the VM is gone");
}

TEST_F(ViewRegistryTest, ARemovedViewIsWithdrawnFromWhoHasItMapped) {
  ViewRegistry views = make();
  views.add("given", monotonic(5), {});
  views.add("vm", of_vm(), {});
  for (const char* name : {"given", "vm"}) {
    const ViewFile mapped = ViewFile::open(directory_.path(), name, region());
    const std::uint64_t marker = mapped.writer().disruption_marker();
    views.remove(name);
    EXPECT_EQ(mapped.writer().state().counter_ratio, 0u) << name;
    EXPECT_EQ(mapped.writer().disruption_marker(), marker + 1);
  }
  EXPECT_TRUE(files().empty());
  EXPECT_TRUE(files("view-sources").empty());
}

TEST_F(ViewRegistryTest, KeepsARemovedViewReadableWhereItIsOffsetsOfClocksAlone) {
  ViewRegistry views = make();
  views.add("offsets", monotonic(5), {});
  views.add("vm", of_vm(), {});
  ViewFields moved;
  moved.counter_offset = 5;
  views.add("moved", moved, {});
  const ViewFile mapped = ViewFile::open(directory_.path(), "offsets", region());
  const ViewState before = mapped.writer().state();
  views.remove("offsets", true);
  EXPECT_EQ(mapped.writer().state(), before);
  for (const char* name : {"vm", "moved"}) {
    const Json as_it_was = views.show(name);
    EXPECT_NE(refusal([&] { views.remove(name, true); }).find("keep: view "), std::string::npos);
    EXPECT_EQ(views.show(name), as_it_was);
  }
  vm_.known = false;
  views.poll();
  views.remove("vm", true);  // nobody reads through it
  EXPECT_EQ(files(), std::vector<std::string>{"moved"});
}

TEST_F(ViewRegistryTest, NumbersInPartAreRefusedWhileThereIsNoRelation) {
  ViewRegistry views = make();
  views.add("vm", of_vm(), {});
  vm_.known = false;
  views.poll();
  const Json withdrawn = views.show("vm");
  ViewFields part;
  part.counter_offset = 7;
  EXPECT_NE(refusal([&] { views.set("vm", part, {}); }).find("are needed together"),
            std::string::npos);
  part.counter_ratio = 1;
  EXPECT_NE(refusal([&] { views.set("vm", part, {}); }).find("are needed together"),
            std::string::npos);
  EXPECT_EQ(views.show("vm"), withdrawn);
  part.counter_frac_bits = 0;
  const Json set = views.set("vm", part, {});
  EXPECT_EQ(set["state"], "ok");
  EXPECT_EQ(set["counter_offset"], 7);
  EXPECT_EQ(set["source"]["kind"], "given");
}

TEST_F(ViewRegistryTest, NumbersByHandOutliveARestartThoughTheirRecordCannotBeRemoved) {
  const fs::path kept = directory_.path() / "kept";
  {
    ViewRegistry views = make();
    views.add("vm", of_vm(), {});
    fs::create_hard_link(record("vm"), kept);
    ViewFields moved;
    moved.counter_offset = 7;
    // What is read last is the record that comes before the page's change: it stays.
    views.set("vm", moved, {});
    EXPECT_FALSE(fs::exists(record("vm")));
    fs::rename(kept, record("vm"));  // as if it could not be removed, an old one even
    moved.counter_offset = 8;
    moved.monotonic_offset_ns = 9;
    views.set("vm", moved, {});
  }
  ViewRegistry views = make();
  EXPECT_EQ(views.show("vm")["counter_offset"], 8);
  EXPECT_EQ(views.show("vm")["monotonic_offset_ns"], 9);
  EXPECT_EQ(views.show("vm")["source"]["kind"], "given");
}

// As of a crash between the two: the record says what the page is to say.
TEST_F(ViewRegistryTest, ARecordOfNumbersAloneIsCompletedAfterARestart) {
  Json added;
  {
    ViewRegistry views = make();
    added = views.add("vm", of_vm(), {});
  }
  Json half = Json::parse(std::ifstream(record("vm")));
  half["made_from"] = {{"counter_offset", 7}, {"counter_ratio", 1}, {"counter_frac_bits", 0}};
  std::ofstream(record("vm")) << half;
  ViewRegistry views = make();
  EXPECT_EQ(views.show("vm")["counter_offset"], 7);
  EXPECT_EQ(views.show("vm")["source"]["kind"], "given");
  EXPECT_EQ(views.set("vm", monotonic(1), {})["counter_offset"], 7);
  EXPECT_FALSE(fs::exists(record("vm")));
}

TEST_F(ViewRegistryTest, ServesNoViewsFromADirectoryThatOthersCouldHaveMade) {
  const fs::path elsewhere = directory_.path() / "elsewhere";
  fs::create_directory(elsewhere);
  for (const char* part : {"views", "view-sources"}) {
    const fs::path path = directory_.path() / part;
    std::ofstream(elsewhere / ".a.123") << "somebody else's";
    std::ofstream(elsewhere / ".a.json.new") << "somebody else's";
    fs::create_directory_symlink(elsewhere, path);
    EXPECT_EQ(refusal([&] { make(); }), path.string() + ": is a symbolic link: it is not followed");
    EXPECT_TRUE(fs::exists(elsewhere / ".a.123"));
    EXPECT_TRUE(fs::exists(elsewhere / ".a.json.new"));
    fs::remove(path);
    fs::create_directory(path);
    ASSERT_EQ(chmod(path.c_str(), 0777), 0);
    EXPECT_EQ(refusal([&] { make(); }),
              path.string() + ": mode is 0777: others could make views there");
    ASSERT_EQ(chmod(path.c_str(), 0755), 0);
    EXPECT_EQ(refusal([&] { make(); }), "accepted");
    if (geteuid() == 0) {
      ASSERT_EQ(chown(path.c_str(), 12345, 0), 0);
      EXPECT_EQ(refusal([&] { make(); }),
                path.string() + ": belongs to uid 12345, not to uid 0 or root");
    }
    fs::remove(path);
  }
}

TEST_F(ViewRegistryTest, DeletesNoHiddenFilesButItsOwn) {
  make().add("vm", of_vm(), {});
  for (const char* name : {".profile", ".a.", ".123", ".a b.1", ".a.json.new"})
    std::ofstream(file(name)) << "somebody else's";
  std::ofstream(directory_.path() / "view-sources" / ".a.123") << "somebody else's";
  ViewRegistry views = make();
  EXPECT_EQ(files().size(), 6u);
  EXPECT_EQ(files("view-sources"), (std::vector<std::string>{".a.123", "vm.json"}));
}

TEST_F(ViewRegistryTest, AChangeOfAParentReachesItsChildrenAtOnce) {
  ViewRegistry views = make();
  const Json parent = views.add("a", monotonic(10 * kS), {});
  views.add("b", child_of("a"), {});
  views.add("c", child_of("b"), {});
  EXPECT_EQ(views.show("b")["parent_generation"], parent["number"]);
  EXPECT_EQ(views.show("c")["monotonic_offset_ns"], 12 * kS);
  ViewFields moved = monotonic(20 * kS);
  moved.counter_offset = 5;
  const Json after = views.set("a", moved, {});
  EXPECT_EQ(views.show("b")["parent_generation"], after["number"]);
  EXPECT_EQ(views.show("c")["monotonic_offset_ns"], 22 * kS);
  EXPECT_EQ(views.show("c")["counter_offset"], 5);
  EXPECT_EQ(views.show("c")["parent_generation"], views.show("b")["number"]);
  EXPECT_THROW(views.remove("a"), RegionError);
  std::filesystem::remove(directory_.path() / "views" / "a");  // by hand, all the same
  views.poll();
  EXPECT_EQ(views.show("b")["state"], "withdrawn");
  EXPECT_EQ(views.show("c")["state"], "withdrawn");
}

TEST_F(ViewRegistryTest, AFollowedViewIsNobodyElses) {
  ViewRegistry views = make();
  const FileFields another{.mode = 0444, .uid = 12345, .gid = std::nullopt};
  const FileFields group{.mode = 0640, .uid = std::nullopt, .gid = 12345};
  ViewFields vm;
  vm.vm_pid = 1;
  EXPECT_EQ(refusal([&] { views.add("a", vm, another); }).find("uid is 12345: a view that follows"),
            0U);
  EXPECT_FALSE(fs::exists(record("a")));
  EXPECT_EQ(views.add("a", vm, group)["gid"], 12345);
  EXPECT_NE(refusal([&] { views.set("a", {}, another); }), "accepted");
  EXPECT_EQ(views.show("a")["uid"], geteuid());
  // Nor does another's become one.
  views.add("b", {}, another);
  EXPECT_NE(refusal([&] { views.set("b", vm, {}); }), "accepted");
  EXPECT_FALSE(fs::exists(record("b")));
}

TEST_F(ViewRegistryTest, ADoubtThatLastsIsSaidOnceAndEveryDoubtKeepsFromSaving) {
  ViewRegistry views = make();
  ViewFields vm;
  vm.vm_pid = 1;
  const Json before = views.add("a", vm, {});
  vm_.doubt = {"unreadable", false};
  views.poll();
  EXPECT_TRUE(said_.empty());
  EXPECT_EQ(refusal([&] { (void)views.save("a"); }),
            "view a: its relation is not known at present: unreadable");
  for (const bool nested : {true, false, true}) {
    vm_.doubt = nested ? ViewSource::Doubt{"nested", true} : ViewSource::Doubt{};
    views.poll();
  }
  EXPECT_EQ(said_,
            (std::vector<std::string>{"view a stays as it is, which may be wrong by now: nested"}));
  EXPECT_NE(refusal([&] { (void)views.save("a"); }).find("nested"), std::string::npos);
  EXPECT_EQ(views.show("a"), before);
  vm_.doubt = {};
  vm_.offset++;  // and not polled since
  EXPECT_NE(refusal([&] { (void)views.save("a"); }).find("changes at this moment"),
            std::string::npos);
}

TEST_F(ViewRegistryTest, WithdrawsWhatNobodyWillFollowAndLeavesNumbersAlone) {
  ViewRegistry views = make();
  ViewFields vm;
  vm.vm_pid = 1;
  views.add("a", vm, {});
  views.add("b", {}, {});
  views.withdraw_followed("the end");
  EXPECT_EQ(said_, (std::vector<std::string>{"view a is withdrawn: the end"}));
  EXPECT_EQ(views.show("a")["state"], "withdrawn");
  EXPECT_EQ(views.show("b")["state"], "ok");
  said_.clear();
  EXPECT_EQ(make().show("a")["state"], "ok");  // the next one follows it again
}

}  // namespace
}  // namespace clockpage::producer
