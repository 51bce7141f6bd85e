// SPDX-License-Identifier: MIT
// The checks of this folder find a broken writer out. Each test breaks one rule of the protocol
// behind the real daemon's back, in the region, at a chosen instruction; the last one runs a
// producer whose protocol is wrong.
#include <clockpage/counter.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "campaign.hpp"

namespace clockpage::fault {
namespace {

using BiteTest = FaultTest;

constexpr int kNapUs = 20'000;

std::uint64_t times(const Readers& readers, Wrong wrong) {
  return readers.tally().wrong[static_cast<unsigned>(wrong)];
}

// Ends the readers, and says what they have found.
void finish(Readers& readers) {
  readers.end();
  const Tally tally = readers.tally();
  for (unsigned i = 0; i < tally.wrong.size(); i++)
    if (tally.wrong[i] != 0)
      std::cout << "found: " << name_of(static_cast<Wrong>(i)) << ", " << tally.wrong[i] << " times"
                << std::endl;
}

void must_reach(Lab& lab, const Instruction& target, Kind kind) {
  lab.start();
  if (!lab.go_to(target, kind)) throw std::runtime_error("the instruction was not reached");
}

// Where the page's own words end that a reader looks for a segment by: number, start, lease_end.
const Instruction& with_times_filled(const Path& path) {
  int changes = 0;
  for (const Instruction& i : path)
    if (i.new_state && ++changes == 3) return i;
  throw std::runtime_error("the path fills no slot");
}

const Instruction& about_to_commit(const Path& path) {
  const auto found =
      std::find_if(path.begin(), path.end(), [](const Instruction& i) { return i.commits; });
  if (found == path.end()) throw std::runtime_error("the path publishes nothing");
  return *found;
}

clockpage_segment& slot(Lab& lab, unsigned page, std::uint64_t ahead) {
  clockpage_data_page& p = lab.region().page(page);
  return p.segment[(lab.region().index(page) + ahead) % CLOCKPAGE_SEGMENT_COUNT];
}

TEST_F(BiteTest, AnIndexThatMovesBeforeItsSlotIsFilledIsFoundOut) try {
  Lab lab;
  const Path path = lab.learn(Kind::bridge);
  const auto found = [&] {
    return times(lab.readers(), Wrong::backward) + times(lab.readers(), Wrong::unsettled);
  };
  // The half-filled lease is over 5 ms later: on a busy machine no reader may have come by.
  for (int tries = 0; tries < 30 && found() == 0; tries++) {
    must_reach(lab, with_times_filled(path), Kind::bridge);
    clockpage_data_page& page = lab.region().page(0);
    const std::uint64_t index = lab.region().index();
    CLOCKPAGE_STORE(page.index, index + 1);
    usleep(kNapUs);
    CLOCKPAGE_STORE(page.index, index);
    lab.run(10);
    usleep(kNapUs);
    lab.kill();
  }
  finish(lab.readers());
  EXPECT_GT(found(), 0U);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

TEST_F(BiteTest, AnAdopterThatSteersInsteadOfBridgingIsFoundOut) try {
  Lab lab;
  const Path path = lab.learn(Kind::bridge);
  must_reach(lab, about_to_commit(path), Kind::bridge);
  for (unsigned i = 0; i < kPages; i++) {
    clockpage_segment& s = slot(lab, i, 1);
    s.tai_ns += 100;
  }
  // Examined before the history has gone past it.
  lab.run(1);
  lab.kill();
  EXPECT_NE(lab.region().defect(), "");
  usleep(kNapUs);
  finish(lab.readers());
  EXPECT_GT(times(lab.readers(), Wrong::bridged_differs), 0U);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

TEST_F(BiteTest, ALeaseThatOutlivesItsWriterIsFoundOut) try {
  Lab lab;
  const Path path = lab.learn(Kind::steering);
  must_reach(lab, path.front(), Kind::steering);
  lab.kill();
  for (unsigned i = 0; i < kPages; i++) slot(lab, i, 0).lease_end += lab.region().frequency_hz();
  usleep(10 * kNapUs);
  finish(lab.readers());
  EXPECT_GT(times(lab.readers(), Wrong::not_flagged), 0U);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

TEST_F(BiteTest, ASegmentChangedAfterItsPublicationIsFoundOut) try {
  Lab lab;
  const Path path = lab.learn(Kind::steering);
  must_reach(lab, path.front(), Kind::steering);
  lab.run(20);
  for (int i = 0; i < 20; i++) {
    // The one that readers are in: the newest mostly begins in the future.
    slot(lab, 0, ~std::uint64_t{0}).tai_ns += 100;
    usleep(kNapUs / 4);
  }
  lab.kill();
  EXPECT_NE(lab.region().defect(), "");
  finish(lab.readers());
  EXPECT_GT(times(lab.readers(), Wrong::unsettled) + times(lab.readers(), Wrong::disagreement), 0U);
  EXPECT_GT(times(lab.readers(), Wrong::formats), 0U);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

TEST_F(BiteTest, ABoundThatStandsStillIsFoundOut) try {
  Lab lab;
  const Path path = lab.learn(Kind::steering);
  must_reach(lab, path.front(), Kind::steering);
  lab.kill();
  for (unsigned i = 0; i < kPages; i++) slot(lab, i, 0).local_bound_growth_frac = 0;
  usleep(10 * kNapUs);
  finish(lab.readers());
  EXPECT_GT(times(lab.readers(), Wrong::bound_shrank), 0U);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

// No lease, a start in the future only, and a writer stopped between choosing and storing.
TEST_F(BiteTest, AProducerWithoutLeasesIsFoundOut) try {
  const TemporaryDirectory directory;
  Traced producer({program_directory() + "/wrong_protocol", directory.path.string(), "60", "5000"},
                  (directory.path / "log").string());
  producer.release();
  for (int tries = 0; !std::filesystem::exists(directory.path / "region"); tries++) {
    ASSERT_LT(tries, 5000) << "no region";
    usleep(1000);
  }
  Readers readers(directory.path.string(), seed());
  for (int tries = 0; tries < 200 && times(readers, Wrong::unsettled) == 0; tries++) usleep(50'000);
  finish(readers);
  EXPECT_GT(times(readers, Wrong::unsettled), 0U);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

}  // namespace
}  // namespace clockpage::fault
