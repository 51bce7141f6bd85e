// SPDX-License-Identifier: MIT
//
// Fuzz target: an arbitrary region and an arbitrary view, validated in memory and opened as files,
// of any length. What is accepted can be read, page by page; also after the files have been
// overwritten with something else.
//
// Input: one byte of flags, then changes to a valid region and view (tests/fuzz_region.hpp), or,
// without the flag, the bytes themselves.
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <unistd.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../tests/fuzz.hpp"
#include "../tests/fuzz_region.hpp"
#include "test_pages.hpp"

namespace clockpage::fuzz {
namespace {

constexpr unsigned kPatched = 1, kView = 2, kGuest = 4, kOtherLength = 8, kScaled = 16,
                   kSmeared = 32, kOverwrite = 64;

void check_error(int code, const clockpage_open_error& error) {
  CLOCKPAGE_FUZZ_CHECK(code == error.code);
  const std::size_t length = strnlen(error.where, sizeof error.where);
  CLOCKPAGE_FUZZ_CHECK(length < sizeof error.where);
  CLOCKPAGE_FUZZ_CHECK((length == 0) == (code == 0));
  CLOCKPAGE_FUZZ_CHECK(code == CLOCKPAGE_E_SYSTEM || error.saved_errno == 0);
  for (std::size_t i = 0; i < length; i++)
    CLOCKPAGE_FUZZ_CHECK(static_cast<unsigned char>(error.where[i]) >= 0x20);
  CLOCKPAGE_FUZZ_CHECK(*clockpage_strerror(code) != '\0');
}

bool is_refusal(int code) { return code <= CLOCKPAGE_E_SIZE && code >= CLOCKPAGE_E_COUNTER; }

// ---- in memory

void read_some(const clockpage_reader& reader) {
  for (const int clock : {0, 1, 4, 7, 11, 3}) {
    const clockpage_data_page& page = *reader.page;
    clockpage_time time{};
    const std::uint64_t start =
        CLOCKPAGE_LOAD(page.segment[page.index % CLOCKPAGE_SEGMENT_COUNT].start);
    int error = clockpage_at_bounds(&reader, clock, start, &time);
    CLOCKPAGE_FUZZ_CHECK(error <= CLOCKPAGE_OK && error >= CLOCKPAGE_E_CLOCK);
    CLOCKPAGE_FUZZ_CHECK(error != 0 || (time.earliest_ns <= time.ns && time.ns <= time.latest_ns));
    error = clockpage_now_bounds(&reader, clock, &time);
    CLOCKPAGE_FUZZ_CHECK(error <= CLOCKPAGE_OK && error >= CLOCKPAGE_E_CLOCK);
    CLOCKPAGE_FUZZ_CHECK(error != 0 || time.status <= CLOCKPAGE_STATUS_UNRELIABLE);
  }
}

// What is accepted: four different pages inside the region, each of which a reader accepts.
void check_accepted(std::span<const std::byte> region) {
  const auto& d = *reinterpret_cast<const clockpage_directory_page*>(region.data());
  CLOCKPAGE_FUZZ_CHECK(region.size() == CLOCKPAGE_REGION_SIZE);
  std::set<std::uint32_t> offsets;
  std::set<std::pair<unsigned, bool>> kinds;
  for (const clockpage_data_page_entry& entry : d.data_page) {
    CLOCKPAGE_FUZZ_CHECK(entry.offset_bytes >= CLOCKPAGE_PAGE_SIZE);
    CLOCKPAGE_FUZZ_CHECK(entry.offset_bytes % CLOCKPAGE_PAGE_SIZE == 0);
    CLOCKPAGE_FUZZ_CHECK(entry.offset_bytes + CLOCKPAGE_PAGE_SIZE <= region.size());
    offsets.insert(entry.offset_bytes);
    kinds.emplace(entry.format, entry.smear != 0);
    clockpage_reader reader;
    CLOCKPAGE_FUZZ_CHECK(clockpage_reader_init(&reader, &region[entry.offset_bytes],
                                               CLOCKPAGE_PAGE_SIZE) == CLOCKPAGE_OK);
    CLOCKPAGE_FUZZ_CHECK(reader.page->generation == d.generation);
    CLOCKPAGE_FUZZ_CHECK(reader.page->format == entry.format);
    clockpage_smear smear;
    CLOCKPAGE_FUZZ_CHECK(clockpage_smear_of(reader.page, &smear) == CLOCKPAGE_OK);
    CLOCKPAGE_FUZZ_CHECK((smear.kind == CLOCKPAGE_SMEAR_NONE) == (smear.length_s == 0));
    CLOCKPAGE_FUZZ_CHECK(
        reader.page->segment[reader.page->index % CLOCKPAGE_SEGMENT_COUNT].number ==
        reader.page->index);
    read_some(reader);
  }
  CLOCKPAGE_FUZZ_CHECK(offsets.size() == 4 && kinds.size() == 4);
  CLOCKPAGE_FUZZ_CHECK(d.counter_frequency_hz != 0 && d.counter_quantum_ticks != 0);
}

int validate_region(std::span<const std::byte> bytes) {
  clockpage_open_error error;
  const int code = clockpage_validate_region(bytes.data(), bytes.size(), &error);
  CLOCKPAGE_FUZZ_CHECK(clockpage_validate_region(bytes.data(), bytes.size(), nullptr) == code);
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % 8 != 0) {
    CLOCKPAGE_FUZZ_CHECK(code == CLOCKPAGE_E_ARGUMENT);
    return CLOCKPAGE_E_SIZE;  // that of a file of this length
  }
  check_error(code, error);
  CLOCKPAGE_FUZZ_CHECK(code == 0 || is_refusal(code));
  if (code == 0) check_accepted(bytes);
  return code;
}

int validate_view(std::span<const std::byte> bytes, const clockpage_directory_page* directory) {
  clockpage_open_error error;
  const int code = clockpage_validate_view(bytes.data(), bytes.size(), directory, &error);
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % 8 != 0) {
    CLOCKPAGE_FUZZ_CHECK(code == CLOCKPAGE_E_ARGUMENT);
    return CLOCKPAGE_E_SIZE;
  }
  check_error(code, error);
  const bool others = directory != nullptr && code == CLOCKPAGE_E_STALE;  // another region's
  CLOCKPAGE_FUZZ_CHECK(code == 0 || is_refusal(code) || others);
  if (code != 0) return code;
  const auto& view = *reinterpret_cast<const clockpage_view_page*>(bytes.data());
  const clockpage_view_slot& slot = view.slot[view.index % CLOCKPAGE_VIEW_SLOT_COUNT];
  CLOCKPAGE_FUZZ_CHECK(slot.number == view.index);
  // 0 and 0: withdrawn.
  CLOCKPAGE_FUZZ_CHECK((slot.counter_ratio != 0) || slot.counter_frac_bits == 0);
  CLOCKPAGE_FUZZ_CHECK(slot.counter_frac_bits <= 48 && slot.format <= CLOCKPAGE_FORMAT_SCALED);
  CLOCKPAGE_FUZZ_CHECK(directory == nullptr || view.generation == directory->generation);
  return code;
}

// ---- as files

class File {
 public:
  explicit File(const std::filesystem::path& path)
      : descriptor_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    CLOCKPAGE_FUZZ_CHECK(descriptor_ >= 0);
  }
  void write(std::span<const std::byte> bytes) const {
    CLOCKPAGE_FUZZ_CHECK(ftruncate(descriptor_, static_cast<off_t>(bytes.size())) == 0);
    overwrite(bytes);
  }
  // Keeps its length: a mapped file that is truncated is a SIGBUS, see clockpage.h.
  void overwrite(std::span<const std::byte> bytes) const {
    CLOCKPAGE_FUZZ_CHECK(pwrite(descriptor_, bytes.data(), bytes.size(), 0) ==
                         static_cast<ssize_t>(bytes.size()));
  }

 private:
  int descriptor_;
};

// check: the files are still those that were opened. Else whoever reads through a view looks at the
// files' headers anew.
void use(const clockpage_region* region, bool check) {
  const auto is_allowed = [&](int code) {
    if (code >= CLOCKPAGE_E_CLOCK) return true;
    return !check && clockpage_view_reader_of(region) != nullptr &&
           (is_refusal(code) || code == CLOCKPAGE_E_STALE || code == CLOCKPAGE_E_VIEW);
  };
  std::int64_t ns = 0;
  clockpage_time time{};
  for (const int clock : {0, 1, 4, 7, 11, 3}) {
    CLOCKPAGE_FUZZ_CHECK(is_allowed(clockpage_read_ns(region, clock, &ns)));
    CLOCKPAGE_FUZZ_CHECK(is_allowed(clockpage_read_time(region, clock, &time)));
  }
  read_some(*clockpage_reader_of(region));
  for (std::uint8_t kind = 0; kind < 4; kind++) {
    const clockpage_data_page* page = clockpage_page_of(region, kind >> 1 & 1, kind & 1);
    CLOCKPAGE_FUZZ_CHECK(page != nullptr);
    clockpage_reader reader;
    const int code = clockpage_reader_init(&reader, page, sizeof *page);
    CLOCKPAGE_FUZZ_CHECK(!check || code == 0);
    if (code == 0) read_some(reader);
  }
  CLOCKPAGE_FUZZ_CHECK(clockpage_directory_of(region) != nullptr);
}

void open_files(unsigned flags, std::span<const std::byte> region, std::span<const std::byte> view,
                int region_code, int view_code) {
  static const test::temporary_directory directory;
  static const std::string view_path = (directory.path() / "view").string();
  static const File region_file(directory.path() / CLOCKPAGE_REGION_FILE), view_file(view_path);
  region_file.write(region);
  view_file.write(view);
  clockpage_open_options options{};
  options.size = sizeof options;
  options.directory = directory.path().c_str();
  options.view = (flags & kView) != 0 ? view_path.c_str() : nullptr;
  options.flags = (flags & kGuest) != 0 ? CLOCKPAGE_OPEN_GUEST : 0;
  options.format = (flags & kScaled) != 0 ? 1 : 0;
  options.smear = (flags & kSmeared) != 0 ? 1 : 0;
  clockpage_region* opened = nullptr;
  clockpage_open_error error;
  const int code = clockpage_open(&options, &opened, &error);
  check_error(code, error);
  CLOCKPAGE_FUZZ_CHECK((opened != nullptr) == (code == 0));
  if (region_code != 0) CLOCKPAGE_FUZZ_CHECK(code == region_code);
  const bool stale_view = (flags & kView) != 0 && view_code == CLOCKPAGE_E_STALE;
  if (code == CLOCKPAGE_E_STALE) CLOCKPAGE_FUZZ_CHECK((flags & kGuest) == 0 || stale_view);
  if (code == CLOCKPAGE_E_VIEW) CLOCKPAGE_FUZZ_CHECK(view_code == 0 && (flags & kView) != 0);
  if (region_code == 0 && code != CLOCKPAGE_E_STALE && code != CLOCKPAGE_E_VIEW)
    CLOCKPAGE_FUZZ_CHECK(code == ((flags & kView) != 0 ? view_code : 0));
  if (opened == nullptr) return;
  use(opened, true);
  if ((flags & kOverwrite) != 0) {
    std::vector<std::byte> other(region.rbegin(), region.rend());
    region_file.overwrite(other);
    use(opened, false);
    for (std::size_t i = 0; i < other.size(); i++) other[i] = region[i] | view[i % view.size()];
    region_file.overwrite(other);
    use(opened, false);
  }
  clockpage_close(opened);
}

}  // namespace
}  // namespace clockpage::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage;
  using namespace clockpage::fuzz;
  static const GuardedBytes region_area(CLOCKPAGE_REGION_SIZE + 4096), view_area(8192);
  static test::region_image valid_region;
  static test::view_image valid_view;
  Input input(data, size);
  const auto flags = input.take<std::uint8_t>();
  std::size_t region_size = CLOCKPAGE_REGION_SIZE, view_size = CLOCKPAGE_PAGE_SIZE;
  if ((flags & kOtherLength) != 0) {
    region_size = input.take<std::uint16_t>() % (CLOCKPAGE_REGION_SIZE + 4096);
    view_size = input.take<std::uint16_t>() % 8192 + 1;
  }
  const std::span<std::byte> region = region_area.last(region_size),
                             view = view_area.last(view_size);
  std::fill(region.begin(), region.end(), std::byte{0});
  std::fill(view.begin(), view.end(), std::byte{0});
  if ((flags & kPatched) != 0) {
    test::region_image changed = valid_region;
    test::view_image changed_view = valid_view;
    for (unsigned left = input.take<std::uint8_t>() % 8; left > 0; left--) {
      const auto at = input.take<std::uint16_t>();  // in its header, or in its newest slot
      const std::size_t slot = 0x200 + valid_view.page().index % 4 * sizeof(clockpage_view_slot);
      const std::size_t begin = (at & 0x8000) != 0 ? at % 0x110 : slot + at % 64;
      input.take_bytes(&changed_view.bytes()[begin], 1 + (at >> 12 & 7U));
    }
    patch_region(input, changed.bytes(), 12);
    std::copy_n(changed.bytes().data(), std::min(region_size, changed.bytes().size()),
                region.data());
    std::copy_n(changed_view.bytes().data(), std::min(view_size, changed_view.bytes().size()),
                view.data());
  } else {
    input.take_bytes(view.data(), std::min<std::size_t>(view.size(), 64));
    input.take_bytes(region.data(), region.size());
  }

  const int region_code = validate_region(region);
  const auto* directory = reinterpret_cast<const clockpage_directory_page*>(region.data());
  validate_view(view, nullptr);
  const int view_code = region_code != 0 ? 0 : validate_view(view, directory);
  open_files(flags, region, view, region_code, view_code);
  return 0;
}
