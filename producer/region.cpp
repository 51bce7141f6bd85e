// SPDX-License-Identifier: MIT
#include "region.hpp"

#include <clockpage/barrier.h>
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/interprocess/file_mapping.hpp>
#include <cerrno>
#include <cstring>

#include "region_memory.hpp"

namespace clockpage::producer {

namespace {

namespace fs = std::filesystem;
namespace bip = boost::interprocess;

[[noreturn]] void fail(const fs::path& path, const std::string& reason) {
  throw RegionError(fmt::format("{}: {}", path.string(), reason));
}

[[noreturn]] void fail_errno(const fs::path& path, std::string_view what, int error) {
  fail(path, fmt::format("{}: {}", what, std::strerror(error)));
}

class File {
 public:
  File(const fs::path& path, int flags, mode_t mode = 0)
      : fd_(open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

fs::path region_path(const fs::path& directory) { return directory / "region"; }

struct MappedFile {
  bip::mapped_region map;
  FileId id;
};

MappedFile map(const fs::path& path, bip::mode_t mode) {
  try {
    const bip::file_mapping file(path.c_str(), mode);
    struct stat status {};
    if (fstat(file.get_mapping_handle().handle, &status) != 0)
      fail_errno(path, "cannot be examined", errno);
    return {bip::mapped_region(file, mode, 0, CLOCKPAGE_REGION_SIZE),
            {status.st_dev, status.st_ino}};
  } catch (const bip::interprocess_exception& e) {
    fail(path, fmt::format("cannot be mapped: {}", e.what()));
  }
}

// A full disk shows as a short write first, and as an error only then.
bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

// A file under a name that it shall not keep.
class TemporaryName {
 public:
  explicit TemporaryName(fs::path path) : path_(std::move(path)) { unlink(path_.c_str()); }
  ~TemporaryName() { unlink(path_.c_str()); }
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  [[nodiscard]] const fs::path& path() const noexcept { return path_; }

 private:
  fs::path path_;
};

// An open file in the shape that mapped_region takes.
struct Mappable {
  int fd;
  [[nodiscard]] bip::mapping_handle_t get_mapping_handle() const noexcept {
    return bip::ipcdetail::mapping_handle_from_file_handle(fd);
  }
};

fs::path memory_name(int fd) { return fmt::format("descriptor {}", fd); }

bip::mapped_region map_memory(int fd, bip::mode_t mode) {
  try {
    return {Mappable{fd}, mode, 0, CLOCKPAGE_REGION_SIZE};
  } catch (const bip::interprocess_exception& e) {
    fail(memory_name(fd), fmt::format("cannot be mapped: {}", e.what()));
  }
}

template <std::size_t N>
void copy_magic(std::uint8_t (&magic)[CLOCKPAGE_MAGIC_SIZE], const char (&text)[N]) {
  static_assert(N == CLOCKPAGE_MAGIC_SIZE + 1);
  std::memcpy(magic, text, CLOCKPAGE_MAGIC_SIZE);
}

struct PageKind {
  std::uint8_t format;
  std::uint8_t smear;
};
// Page 0 is the one that decisions are made for.
constexpr std::array<PageKind, CLOCKPAGE_DATA_PAGE_COUNT> kKinds = {
    PageKind{CLOCKPAGE_FORMAT_UNSCALED, 0}, PageKind{CLOCKPAGE_FORMAT_UNSCALED, 1},
    PageKind{CLOCKPAGE_FORMAT_SCALED, 0}, PageKind{CLOCKPAGE_FORMAT_SCALED, 1}};

void fill_directory(clockpage_directory_page& d, const RegionIdentity& identity) {
  copy_magic(d.magic, CLOCKPAGE_DIRECTORY_MAGIC);
  d.abi_major = CLOCKPAGE_ABI_MAJOR;
  d.abi_minor = CLOCKPAGE_ABI_MINOR;
  d.size = sizeof d;
  d.features = CLOCKPAGE_FEATURE_LEAPS;
  d.region_size = CLOCKPAGE_REGION_SIZE;
  std::copy(identity.host_id.begin(), identity.host_id.end(), d.host_id);
  std::copy(identity.boot_id.begin(), identity.boot_id.end(), d.boot_id);
  d.generation = identity.generation;
  d.counter_kind = identity.counter.kind;
  d.counter_frequency_hz = identity.counter.frequency_hz;
  d.counter_quantum_ticks = identity.counter.quantum_ticks;
  d.art_numerator = identity.counter.art_numerator;
  d.art_denominator = identity.counter.art_denominator;
  d.data_page_count = CLOCKPAGE_DATA_PAGE_COUNT;
  d.data_page_size = CLOCKPAGE_PAGE_SIZE;
  for (std::size_t i = 0; i < kKinds.size(); i++) {
    d.data_page[i].offset_bytes = static_cast<std::uint32_t>((i + 1) * CLOCKPAGE_PAGE_SIZE);
    d.data_page[i].format = kKinds[i].format;
    d.data_page[i].smear = kKinds[i].smear;
  }
}

void fill_page_header(clockpage_data_page& p, const RegionIdentity& identity, PageKind kind) {
  copy_magic(p.magic, CLOCKPAGE_DATA_MAGIC);
  p.abi_major = CLOCKPAGE_ABI_MAJOR;
  p.abi_minor = CLOCKPAGE_ABI_MINOR;
  p.size = sizeof p;
  p.counter_kind = identity.counter.kind;
  p.format = kind.format;
  p.features = CLOCKPAGE_FEATURE_LEAPS;
  const Smear smear = kind.smear != 0 ? identity.smear : kNoSmear;
  p.smear = smear.kind;
  p.smear_start_s = smear.start_s;
  p.smear_length_s = smear.length_s;
  p.segment_count = CLOCKPAGE_SEGMENT_COUNT;
  p.segment_size = CLOCKPAGE_SEGMENT_SIZE;
  p.segment_offset = CLOCKPAGE_SEGMENT_OFFSET;
  const std::uint64_t host_hz = identity.counter.frequency_hz;
  const bool scaled = kind.format == CLOCKPAGE_FORMAT_SCALED;
  p.scale_frac_bits = scaled ? identity.counter.scale_frac_bits : 0;
  p.scale_ratio = scaled ? one_ghz_ratio(host_hz, p.scale_frac_bits) : 1;
  p.counter_frequency_hz = scaled ? 1'000'000'000 : host_hz;
  p.delta_shift = delta_shift_for(nominal_period(p.counter_frequency_hz));
  p.generation = identity.generation;
  p.index = identity.first_index;
  std::memcpy(p.diagnostics.source, identity.source.data(),
              std::min(identity.source.size(), sizeof p.diagnostics.source - 1));
  p.diagnostics.min_margin_ns = INT64_MAX;
  p.diagnostics.source_max_error_ns = CLOCKPAGE_BOUND_UNKNOWN;
}

// The same line in a page's own counter: begins at the scaled image of host_start.
Line rescaled(const Line& line, const Scale& scale, std::uint32_t shift, Period host_period) {
  if (scale.frac_bits == 0) return line;
  const Period period =
      static_cast<Period>((host_period << scale.frac_bits) / scale.ratio) >> shift;
  return {scale.apply(line.start), line.base - scale.remainder(line.start, host_period),
          static_cast<std::uint64_t>(period), shift};
}

// The segment that ends where `segment` begins, by the same line: a reader that is a moment
// behind the first segment still finds its time.
Segment extended_back(const Segment& segment, std::uint64_t ticks) {
  Segment earlier = segment;
  for (Line* line : {&earlier.tai, &earlier.raw}) {
    line->start -= ticks;
    line->base -= Instant{ticks << line->shift} * line->period_frac;
  }
  earlier.lease_end = segment.tai.start;
  return earlier;
}

void fill_first_segments(clockpage_data_page& page, std::uint64_t history_ticks, Segment first) {
  PageWriter writer(page);
  const Scale& scale = writer.scale();
  const Period tai_period = Period{first.tai.period_frac} << first.tai.shift;
  const Period raw_period = Period{first.raw.period_frac} << first.raw.shift;
  first.tai = rescaled(first.tai, scale, writer.shift(), tai_period);
  first.raw = rescaled(first.raw, scale, writer.shift(), raw_period);
  first.lease_end = scale.apply(first.lease_end);
  if (scale.frac_bits != 0) {
    // From the host's ticks to this page's.
    const auto per_tick = [&](std::uint64_t growth) {
      return static_cast<std::uint64_t>((Instant{growth} << scale.frac_bits) / scale.ratio >>
                                        writer.shift()) +
             1;
    };
    first.terms.utc_bound_growth_frac = per_tick(first.terms.utc_bound_growth_frac);
    first.terms.local_bound_growth_frac = per_tick(first.terms.local_bound_growth_frac);
  }
  writer.fill_next(extended_back(first, scale.apply(history_ticks)));
  (void)writer.publish();
  writer.fill_next(first);
  (void)writer.publish();
}

void check_counter(const fs::path& path, const clockpage_directory_page& d,
                   const CounterIdentity& counter) {
  // Two measurements of one counter differ by less than this; two counters by more.
  const std::uint64_t tolerance = counter.frequency_hz / 5000;
  const std::uint64_t apart = d.counter_frequency_hz > counter.frequency_hz
                                  ? d.counter_frequency_hz - counter.frequency_hz
                                  : counter.frequency_hz - d.counter_frequency_hz;
  if (d.counter_kind != counter.kind || apart > tolerance)
    fail(path,
         fmt::format("was made for another counter ({} Hz; this one has {} Hz); left as it is",
                     d.counter_frequency_hz, counter.frequency_hz));
}

void check_source(const fs::path& path, const clockpage_diagnostics& diagnostics,
                  std::string_view source) {
  const char* name = reinterpret_cast<const char*>(diagnostics.source);
  std::string published(name, strnlen(name, sizeof diagnostics.source));
  // It goes into a message: whatever is no printable ASCII becomes '?'.
  std::replace_if(
      published.begin(), published.end(), [](char c) { return c < 0x21 || c > 0x7e; }, '?');
  if (!published.empty() && (published == "sim") != (source == "sim"))
    fail(path,
         fmt::format("was published from source {}, which source {} cannot continue; left as it is",
                     published, source));
}

// What cannot be a page's that a producer made for this counter; null if all is well.
const char* impossible_header(const clockpage_data_page& page, std::uint64_t host_hz) {
  const bool scaled = page.format == CLOCKPAGE_FORMAT_SCALED;
  if (page.counter_frequency_hz != (scaled ? 1'000'000'000 : host_hz))
    return "a page's frequency is not its counter's";
  if (page.delta_shift != delta_shift_for(nominal_period(page.counter_frequency_hz)))
    return "a page's delta_shift is not its counter's";
  if (!scaled) return nullptr;
  if (page.scale_frac_bits != 32 && page.scale_frac_bits != 48)
    return "a page's scale_frac_bits is no hardware's";
  if (page.scale_ratio != one_ghz_ratio(host_hz, page.scale_frac_bits))
    return "a page's scale_ratio is not its counter's";
  return nullptr;
}

bool is_possible(const UtcOffset& utc) {
  if (!utc.leaps()) return utc == constant_offset(utc.before_ns);
  // Far enough from the end of time for sums with it.
  constexpr std::int64_t latest = INT64_MAX - (std::int64_t{1} << 61);
  if (utc.end_ns < utc.start_ns || utc.start_ns < 0 || utc.end_ns > latest) return false;
  if (utc.end_ns == utc.start_ns) return utc.slope_frac == 0;
  // No smear is steeper than one part in 99: REALTIME never goes back.
  return std::abs(utc.after_ns - utc.before_ns) <= (utc.end_ns - utc.start_ns) / 99 &&
         utc == offset_ramp(utc.before_ns, utc.start_ns, utc.end_ns, utc.after_ns);
}

// What no producer of this counter has published; null if all is well. Longest lease ahead: a
// period and twice the lead.
const char* impossible_segment(const PageWriter& page, std::uint64_t hz, std::uint64_t number,
                               std::uint64_t now) {
  const Segment s = page.load(number);
  const auto limit = static_cast<std::int64_t>(4 * hz);
  const auto apart = [](std::uint64_t a, std::uint64_t b) {
    return static_cast<std::int64_t>(a - b);
  };
  const std::uint64_t counter = page.scale().apply(now);
  const auto nominal = static_cast<std::uint64_t>(nominal_period(hz) >> page.shift());
  if (s.number != number) return "its newest segment is another's";
  if (apart(s.tai.start, counter) > limit || apart(s.lease_end, counter) > limit)
    return "its newest segment lies in the future of this counter";
  // No upper limit: a bridge over a long death is as long as the death was.
  if (apart(s.lease_end, s.tai.start) <= 0) return "its newest segment has an impossible lease";
  for (const Line* line : {&s.tai, &s.raw})
    if (line->period_frac < nominal - nominal / 8 || line->period_frac > nominal + nominal / 8)
      return "its newest segment has an impossible period";
  for (const std::uint64_t counter_value : {s.tai.start, s.lease_end})
    if (whole_ns(s.tai.at(counter_value)) >= CLOCKPAGE_MAX_BASE_NS ||
        whole_ns(s.raw.at(counter_value)) >= CLOCKPAGE_MAX_BASE_NS)
      return "its newest segment is past the year 2116";
  constexpr auto largest = static_cast<std::int64_t>(CLOCKPAGE_MAX_BASE_NS);
  for (const std::int64_t offset : {s.terms.utc.before_ns, s.terms.utc.after_ns,
                                    s.terms.monotonic_offset_ns, s.terms.boottime_offset_ns})
    if (offset <= -largest || offset >= largest)
      return "its newest segment has an impossible offset";
  if (!is_possible(s.terms.utc)) return "its newest segment has an impossible leap second";
  return nullptr;
}

// All that is the same on all pages. UTC is the same on pages of one smear; across smears it
// differs by what leap seconds a smear can be behind or ahead.
bool is_same_clock(const Segment& a, const Segment& b, bool same_smear) {
  constexpr std::int64_t most = 3 * kNsPerSecond;
  const auto utc_at_start = [](const Segment& s) {
    return s.terms.utc.at(static_cast<std::int64_t>(whole_ns(s.tai.base)));
  };
  const bool same_utc =
      same_smear ? a.terms.utc == b.terms.utc : std::abs(utc_at_start(a) - utc_at_start(b)) <= most;
  return a.terms.epoch == b.terms.epoch && a.terms.flags == b.terms.flags && same_utc &&
         a.terms.monotonic_offset_ns == b.terms.monotonic_offset_ns &&
         a.terms.boottime_offset_ns == b.terms.boottime_offset_ns;
}

// All pages are published together: a writer's death leaves some one segment behind, not more, and
// those with the next one complete. They carry one clock.
const char* impossible_pages(const clockpage_directory_page& directory, std::uint64_t now) {
  const auto* base = reinterpret_cast<const std::byte*>(&directory);
  std::vector<PageWriter> pages;  // only read from
  std::uint64_t furthest = 0;
  for (const clockpage_data_page_entry& entry : directory.data_page) {
    const auto& page = *reinterpret_cast<const clockpage_data_page*>(base + entry.offset_bytes);
    if (const char* wrong = impossible_header(page, directory.counter_frequency_hz)) return wrong;
    pages.emplace_back(const_cast<clockpage_data_page&>(page));
    if (pages.size() == 1 || static_cast<std::int64_t>(pages.back().index() - furthest) > 0)
      furthest = pages.back().index();
    const char* wrong =
        impossible_segment(pages.back(), page.counter_frequency_hz, pages.back().index(), now);
    if (wrong != nullptr) return wrong;
  }
  for (std::size_t i = 0; i < pages.size(); i++) {
    const bool behind = pages[i].index() + 1 == furthest && pages[i].next_is_complete();
    if (pages[i].index() != furthest && !behind) return "its pages are at different segments";
    const bool scaled = pages[i].scale().frac_bits != 0;
    const std::uint64_t hz = scaled ? 1'000'000'000 : directory.counter_frequency_hz;
    if (const char* wrong = impossible_segment(pages[i], hz, furthest, now)) return wrong;
    for (std::size_t j = 0; j < i; j++)
      if (!is_same_clock(pages[i].load(furthest), pages[j].load(furthest),
                         pages[i].smear() == pages[j].smear()))
        return "its pages contradict each other";
  }
  return nullptr;
}

void check_pages(const fs::path& path, const clockpage_directory_page& directory,
                 std::uint64_t now) {
  if (const char* wrong = impossible_pages(directory, now))
    fail(path, fmt::format("is not a region that can be adopted: {}; left as it is", wrong));
}

// What a mapped file or memory is. Throws RegionError if it is nothing that a producer of this
// counter and source may go on with or replace.
ExistingRegion judge(const fs::path& path, const bip::mapped_region& mapped, const Id& boot_id,
                     const CounterIdentity& counter, std::string_view source, std::uint64_t now) {
  clockpage_open_error error{};
  if (clockpage_validate_region(mapped.get_address(), mapped.get_size(), &error) != 0)
    fail(path, fmt::format("is not a region that can be adopted: {}; left as it is", error.where));
  const auto& d = *static_cast<const clockpage_directory_page*>(mapped.get_address());
  if (!std::equal(boot_id.begin(), boot_id.end(), d.boot_id)) return ExistingRegion::earlier_boot;
  check_counter(path, d, counter);
  const auto* base = static_cast<const std::byte*>(mapped.get_address());
  const auto& first =
      *reinterpret_cast<const clockpage_data_page*>(base + d.data_page[0].offset_bytes);
  check_source(path, first.diagnostics, source);
  if (CLOCKPAGE_LOAD(first.revoked) != CLOCKPAGE_REVOKED_NO) return ExistingRegion::revoked;
  check_pages(path, d, now);
  return ExistingRegion::adoptable;
}

}  // namespace

std::vector<std::byte> region_image(const RegionIdentity& identity, std::uint64_t history_ticks,
                                    const Segment& first, const std::optional<UtcTerms>& smeared) {
  struct Image {
    clockpage_directory_page directory;
    std::array<clockpage_data_page, CLOCKPAGE_DATA_PAGE_COUNT> pages;
  };
  const auto image = std::make_unique<Image>();
  fill_directory(image->directory, identity);
  for (std::size_t i = 0; i < kKinds.size(); i++) {
    fill_page_header(image->pages[i], identity, kKinds[i]);
    Segment segment = first;
    if (kKinds[i].smear != 0 && smeared) {
      segment.terms.utc = smeared->offset;
      segment.terms.leap_indicator = smeared->leap_indicator;
    }
    fill_first_segments(image->pages[i], history_ticks, segment);
  }
  std::vector<std::byte> bytes(CLOCKPAGE_REGION_SIZE);
  std::memcpy(bytes.data(), image.get(), sizeof *image);
  return bytes;
}

ProducerLock::ProducerLock(const fs::path& directory, const char* name) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) fail(directory, fmt::format("cannot be created: {}", error.message()));
  const fs::path path = directory / name;
  // Nobody else's to open: who can read a file can lock it, and keep a producer from starting.
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0) fail_errno(path, "cannot be opened", errno);
  (void)fchmod(fd_, 0600);
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    std::array<char, 32> holder{};
    const ssize_t n = pread(fd_, holder.data(), holder.size() - 1, 0);
    close(fd_);
    if (reason != EWOULDBLOCK) fail_errno(path, "cannot be locked", reason);
    const long pid = n > 0 ? std::strtol(holder.data(), nullptr, 10) : 0;
    // The holder may not have come to write its own yet.
    const bool alive = pid > 0 && (kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM);
    fail(path, fmt::format("another producer is at work here{}",
                           alive ? fmt::format(" (pid {})", pid) : ""));
  }
  const std::string pid = fmt::format("{}\n", getpid());
  if (ftruncate(fd_, 0) != 0 ||
      pwrite(fd_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    const int reason = errno;
    close(fd_);
    fail_errno(path, "cannot be written", reason);
  }
}

ProducerLock::~ProducerLock() { leave_to_parent(); }

void ProducerLock::leave_to_parent() noexcept {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

ExistingRegion Region::inspect(const fs::path& directory, const Id& boot_id,
                               const CounterIdentity& counter, std::string_view source,
                               std::uint64_t now) {
  const fs::path path = region_path(directory);
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return ExistingRegion::none;
    fail_errno(path, "cannot be examined", errno);
  }
  if (!S_ISREG(status.st_mode)) fail(path, "is not a regular file");
  if (status.st_size != CLOCKPAGE_REGION_SIZE)
    fail(path, fmt::format("is not a region: {} bytes instead of {}; left as it is", status.st_size,
                           CLOCKPAGE_REGION_SIZE));
  return judge(path, map(path, bip::read_only).map, boot_id, counter, source, now);
}

Region Region::create(const fs::path& directory, std::span<const std::byte> image) {
  const fs::path path = region_path(directory);
  // We hold the lock: what lies under this name is a dead producer's.
  const TemporaryName temporary(directory / ".region.new");
  {
    const File file(temporary.path(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    if (file.get() < 0) fail_errno(temporary.path(), "cannot be created", errno);
    // Written, not only sized: a full file system shows here and not as a SIGBUS later.
    if (!write_all(file.get(), image)) fail_errno(temporary.path(), "cannot be written", errno);
    (void)fchmod(file.get(), 0644);  // readers of every user, whatever the umask
  }
  if (access(path.c_str(), F_OK) == 0) adopt(directory).revoke();
  if (rename(temporary.path().c_str(), path.c_str()) != 0)
    fail_errno(path, "cannot be given its name", errno);
  return adopt(directory);
}

Region Region::adopt(const fs::path& directory) {
  fs::path path = region_path(directory);
  MappedFile file = map(path, bip::read_write);
  return Region(std::move(path), std::move(file.map), file.id);
}

bool Region::has_its_name() const noexcept {
  if (path_.empty()) return true;  // memory: it never had one
  struct stat status {};
  if (lstat(path_.c_str(), &status) != 0)
    return errno != ENOENT && errno != ENOTDIR;  // otherwise it cannot be told
  return status.st_dev == id_.device && status.st_ino == id_.inode;
}

ExistingRegion Region::inspect_memory(int fd, const Id& boot_id, const CounterIdentity& counter,
                                      std::string_view source, std::uint64_t now) {
  check_region_memory(fd);
  const auto mapped = map_memory(fd, bip::read_only);
  const auto* magic = static_cast<const std::uint64_t*>(mapped.get_address());
  if (CLOCKPAGE_LOAD(*magic) == 0) return ExistingRegion::none;
  return judge(memory_name(fd), mapped, boot_id, counter, source, now);
}

Region Region::create_in_memory(int fd, std::span<const std::byte> image) {
  static_assert(CLOCKPAGE_MAGIC_SIZE == sizeof(std::uint64_t));
  auto mapped = map_memory(fd, bip::read_write);
  auto* to = static_cast<std::byte*>(mapped.get_address());
  std::memcpy(to + CLOCKPAGE_MAGIC_SIZE, image.data() + CLOCKPAGE_MAGIC_SIZE,
              image.size() - CLOCKPAGE_MAGIC_SIZE);
  std::uint64_t magic = 0;
  std::memcpy(&magic, image.data(), sizeof magic);
  clockpage_publish_magic(reinterpret_cast<std::uint64_t*>(to), magic);  // P3
  return Region({}, std::move(mapped), {});
}

Region Region::adopt_memory(int fd) { return Region({}, map_memory(fd, bip::read_write), {}); }

void Region::revoke() noexcept {
  for (clockpage_data_page* page : pages()) PageWriter(*page).revoke(CLOCKPAGE_REVOKED_REPLACED);
}

clockpage_directory_page& Region::directory() const noexcept {
  return *static_cast<clockpage_directory_page*>(map_.get_address());
}

std::array<clockpage_data_page*, CLOCKPAGE_DATA_PAGE_COUNT> Region::pages() const noexcept {
  // By what they are: the order in the file is the directory's business.
  std::array<clockpage_data_page*, CLOCKPAGE_DATA_PAGE_COUNT> found{};
  auto* base = static_cast<std::byte*>(map_.get_address());
  for (const clockpage_data_page_entry& entry : directory().data_page)
    for (std::size_t i = 0; i < kKinds.size(); i++)
      if (entry.format == kKinds[i].format && (entry.smear != 0) == (kKinds[i].smear != 0))
        found[i] = reinterpret_cast<clockpage_data_page*>(base + entry.offset_bytes);
  return found;
}

}  // namespace clockpage::producer
