// SPDX-License-Identifier: MIT
//
// The vocabulary of clockpage.hpp, which includes it: errors, clocks, results.
#ifndef CLOCKPAGE_CLOCKS_HPP
#define CLOCKPAGE_CLOCKS_HPP

#include <clockpage/clockpage.h>
#include <clockpage/wait.h>

#include <chrono>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>

namespace clockpage
{

// ---- errors -------------------------------------------------------------------------

// CLOCKPAGE_E_*: reader.h, clockpage.h, timestamp.h and wait.h say what each means.
enum class errc : int {
	busy = CLOCKPAGE_E_BUSY,
	out_of_range = CLOCKPAGE_E_OUT_OF_RANGE,
	discontinuity = CLOCKPAGE_E_DISCONTINUITY,
	tai_unknown = CLOCKPAGE_E_TAI_UNKNOWN,
	revoked = CLOCKPAGE_E_REVOKED,
	clock = CLOCKPAGE_E_CLOCK,
	overdue = CLOCKPAGE_E_OVERDUE,
	argument = CLOCKPAGE_E_ARGUMENT,
	disrupted = CLOCKPAGE_E_DISRUPTED,
	scale = CLOCKPAGE_E_SCALE,
	wide = CLOCKPAGE_E_WIDE,
	timeout = CLOCKPAGE_E_TIMEOUT,
	size = CLOCKPAGE_E_SIZE,
	magic = CLOCKPAGE_E_MAGIC,
	version = CLOCKPAGE_E_VERSION,
	layout = CLOCKPAGE_E_LAYOUT,
	counter = CLOCKPAGE_E_COUNTER,
	stale = CLOCKPAGE_E_STALE,
	system = CLOCKPAGE_E_SYSTEM,
	view = CLOCKPAGE_E_VIEW,
	unsealed = CLOCKPAGE_E_UNSEALED,
};

// The category of all error codes here; its messages are clockpage_strerror's.
inline const std::error_category &error_category() noexcept
{
	class category final : public std::error_category
	{
	      public:
		const char *name() const noexcept override
		{
			return "clockpage";
		}
		std::string message(int code) const override
		{
			return clockpage_strerror(code);
		}
	};
	static const category instance;
	return instance;
}

inline std::error_code make_error_code(errc code) noexcept
{
	return {static_cast<int>(code), error_category()};
}

// ---- clocks -------------------------------------------------------------------------

class region;
const region &default_region();
const region &default_smeared_region();

// What all clocks here share. A time_point counts ns since the clock's epoch, rounded down.
//
// now() reads default_region() and throws std::system_error (of error_category()) when that
// cannot be opened or read. It says nothing about how good the time is: see now_bounds.
template <class Clock, int Id, bool Steady> struct basic_clock {
	using duration = std::chrono::nanoseconds;
	using rep = duration::rep;
	using period = duration::period;
	using time_point = std::chrono::time_point<Clock, duration>;
	// Holds while reads are leased: an overdue reading (CLOCKPAGE_TIME_OVERDUE) may be
	// taken back if the producer, late, then publishes another line; that is counted.
	static constexpr bool is_steady = Steady;
	static constexpr int id = Id; // CLOCKPAGE_REALTIME and so on
	static time_point now();
};

// CLOCK_REALTIME: UTC since 1970-01-01 00:00:00 UTC, leap seconds not counted: where one is
// inserted, a second is read twice (reading::is_ambiguous). It can be stepped. Of a page that is
// smeared, which is another time scale, reading it is errc::clock: read smeared_clock there.
struct realtime_clock : basic_clock<realtime_clock, CLOCKPAGE_REALTIME, false> {
	template <class Duration>
	static constexpr std::chrono::sys_time<Duration>
	to_sys(std::chrono::time_point<realtime_clock, Duration> time) noexcept
	{
		return std::chrono::sys_time<Duration>{time.time_since_epoch()};
	}
	template <class Duration>
	static constexpr std::chrono::time_point<realtime_clock, Duration>
	from_sys(std::chrono::sys_time<Duration> time) noexcept
	{
		return std::chrono::time_point<realtime_clock, Duration>{time.time_since_epoch()};
	}
};

// CLOCK_REALTIME as the region's page smears it, or does not: region::smear() says how. Near a leap
// second it is no UTC, and up to 1 s off, so there is no to_sys: it becomes a time of another clock
// only by the hand of a caller who means it. Two of its values are on one time scale only if they
// are of regions of which smear() is the same. It never goes backward within an epoch if it is
// smeared.
struct smeared_clock : basic_clock<smeared_clock, CLOCKPAGE_REALTIME, false> {
	// As basic_clock's, of default_smeared_region().
	static time_point now();
};

// CLOCK_TAI: TAI since 1970-01-01 00:00:00 TAI, as PTP counts. It can be stepped. Reading it
// is errc::tai_unknown where the page does not know TAI - UTC.
struct tai_clock : basic_clock<tai_clock, CLOCKPAGE_TAI, false> {
	// std::chrono::tai_clock counts from 1958-01-01 00:00:00 TAI: 4,383 days earlier.
	// since 1958 = since 1970 + this. Example: 2017-01-01 00:00:00 UTC is 1483228837 s
	// since 1970 and 1861920037 s since 1958.
	static constexpr std::chrono::seconds std_epoch_offset{378'691'200};

	// The time since the epoch of std::chrono::tai_clock, where the standard library has
	// that clock or not.
	static constexpr duration since_1958(time_point time) noexcept
	{
		return time.time_since_epoch() + std_epoch_offset;
	}
	static constexpr time_point from_1958(duration time) noexcept
	{
		return time_point{time - std_epoch_offset};
	}
#if defined(__cpp_lib_chrono) && __cpp_lib_chrono >= 201907L
	static std::chrono::tai_time<duration> to_tai(time_point time) noexcept
	{
		return std::chrono::tai_time<duration>{since_1958(time)};
	}
	static time_point from_tai(std::chrono::tai_time<duration> time) noexcept
	{
		return from_1958(time.time_since_epoch());
	}
	// For std::chrono::clock_cast.
	static std::chrono::utc_time<duration> to_utc(time_point time)
	{
		return std::chrono::tai_clock::to_utc(to_tai(time));
	}
	static time_point from_utc(std::chrono::utc_time<duration> time)
	{
		return from_tai(std::chrono::tai_clock::from_utc(time));
	}
#endif
};

// CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW (at the counter's own rate, never slewed) and
// CLOCK_BOOTTIME (goes on during suspend): since some moment near the host's boot.
struct monotonic_clock : basic_clock<monotonic_clock, CLOCKPAGE_MONOTONIC, true> {
};
struct monotonic_raw_clock : basic_clock<monotonic_raw_clock, CLOCKPAGE_MONOTONIC_RAW, true> {
};
struct boottime_clock : basic_clock<boottime_clock, CLOCKPAGE_BOOTTIME, true> {
};

// One of the six.
template <class Clock>
concept page_clock = std::is_base_of_v<basic_clock<Clock, Clock::id, Clock::is_steady>, Clock>;

// ---- results ------------------------------------------------------------------------

// A value, or the error that there is none. (std::expected is C++23.)
template <class T> class [[nodiscard]] result
{
      public:
	constexpr result(T value, int code) noexcept : value_(value), code_(code)
	{
	}
	constexpr explicit operator bool() const noexcept
	{
		return code_ == CLOCKPAGE_OK;
	}
	constexpr int code() const noexcept // CLOCKPAGE_OK or CLOCKPAGE_E_*
	{
		return code_;
	}
	std::error_code error() const noexcept // clear without an error
	{
		return *this ? std::error_code{} : make_error_code(static_cast<errc>(code_));
	}
	constexpr const T &operator*() const noexcept // meaningless after an error
	{
		return value_;
	}
	const T &value() const // throws std::system_error after an error
	{
		if (!*this)
			throw std::system_error(error());
		return value_;
	}
	constexpr T value_or(T other) const noexcept
	{
		return *this ? value_ : other;
	}

      private:
	T value_;
	int code_;
};

enum class clock_status : std::uint8_t {
	unknown = CLOCKPAGE_STATUS_UNKNOWN,
	initialising = CLOCKPAGE_STATUS_INITIALISING,
	synchronised = CLOCKPAGE_STATUS_SYNCHRONISED,
	free_running = CLOCKPAGE_STATUS_FREE_RUNNING,
	unreliable = CLOCKPAGE_STATUS_UNRELIABLE,
};

// Where the next or last leap second is, as seen from a reading (spec section 5.2). A page may pass
// on other numbers.
enum class leap_state : std::uint8_t {
	none = CLOCKPAGE_LEAP_NONE,
	pending_insertion = CLOCKPAGE_LEAP_PENDING_INSERTION, // within 24 h
	pending_deletion = CLOCKPAGE_LEAP_PENDING_DELETION,
	in_smear = CLOCKPAGE_LEAP_IN_SMEAR,
	just_past = CLOCKPAGE_LEAP_JUST_PAST,
};

// Which kind of smear. A page that no validation has seen may hold other numbers.
enum class smear_kind : std::uint8_t {
	none = CLOCKPAGE_SMEAR_NONE,       // UTC with leap seconds
	noon = CLOCKPAGE_SMEAR_NOON,       // linear from noon to noon UTC
	utc_sls = CLOCKPAGE_SMEAR_UTC_SLS, // linear over the last 1000 s before midnight UTC
	linear = CLOCKPAGE_SMEAR_LINEAR,
};

// Which smear a page's REALTIME is on: equal ones are one time scale. Seconds of the smeared clock.
struct smear_info {
	smear_kind kind = smear_kind::none;
	std::chrono::seconds start{};  // from the midnight UTC that follows a leap second
	std::chrono::seconds length{}; // 0: none
	bool operator==(const smear_info &) const = default;
};

// A reading with its uncertainty, or the error that there is none; after an error every
// time is the epoch, the status unknown. earliest() <= value() <= latest().
template <page_clock Clock> class [[nodiscard]] reading
{
      public:
	using time_point = typename Clock::time_point;

	// read(&time) fills a clockpage_time and returns a code, as reader.h's functions do.
	template <class Read>
	requires std::is_nothrow_invocable_r_v<int, Read, clockpage_time *>
	[[gnu::always_inline]] explicit reading(Read read) noexcept : code_(read(&time_))
	{
		if (CLOCKPAGE_UNLIKELY(code_ != CLOCKPAGE_OK))
			time_ = {};
	}
	explicit operator bool() const noexcept
	{
		return code_ == CLOCKPAGE_OK;
	}
	int code() const noexcept
	{
		return code_;
	}
	std::error_code error() const noexcept
	{
		return *this ? std::error_code{} : make_error_code(static_cast<errc>(code_));
	}
	// The function's value: what all readers of the page get at this counter value.
	time_point value() const noexcept
	{
		return at(time_.ns);
	}
	// The interval that is claimed; time_point::min() and max() where there is no bound.
	time_point earliest() const noexcept
	{
		return at(time_.earliest_ns);
	}
	time_point latest() const noexcept
	{
		return at(time_.latest_ns);
	}
	bool is_bounded() const noexcept
	{
		return time_.earliest_ns != INT64_MIN && time_.latest_ns != INT64_MAX;
	}
	clock_status status() const noexcept
	{
		return static_cast<clock_status>(time_.status);
	}
	std::uint8_t reason() const noexcept // CLOCKPAGE_REASON_*
	{
		return time_.reason;
	}
	// As of value(), whatever the clock: right to the ns, even if the producer is long dead.
	leap_state leap_indicator() const noexcept
	{
		return static_cast<leap_state>(time_.leap_indicator);
	}
	// The kind of the page's smear; region::smear() has its start and length as well.
	smear_kind smear() const noexcept
	{
		return static_cast<smear_kind>(time_.smear);
	}
	// A value of REALTIME that is read twice, here and a second away, because a leap second is
	// inserted. Never so on other clocks or in a smear.
	bool is_ambiguous() const noexcept
	{
		return (time_.flags & CLOCKPAGE_TIME_AMBIGUOUS) != 0;
	}
	// The host's own clock is being smeared, so what this page has is computed back from it.
	bool is_host_in_smear() const noexcept
	{
		return (time_.flags & CLOCKPAGE_TIME_HOST_IN_SMEAR) != 0;
	}
	std::uint32_t flags() const noexcept // CLOCKPAGE_TIME_*
	{
		return time_.flags;
	}
	bool is_overdue() const noexcept // at or past the lease's end: provisional
	{
		return (time_.flags & CLOCKPAGE_TIME_OVERDUE) != 0;
	}
	// Values of different epochs are not ordered with each other.
	std::uint64_t epoch() const noexcept
	{
		return time_.epoch;
	}
	// The page's counter value that this is the time of.
	std::uint64_t counter() const noexcept
	{
		return time_.counter;
	}
	const clockpage_time &raw() const noexcept
	{
		return time_;
	}

      private:
	static time_point at(std::int64_t ns) noexcept
	{
		return time_point{typename Clock::duration{ns}};
	}

	clockpage_time time_;
	int code_;
};

// The middle of the claimed interval, for display. It is *not* "the time": only the interval
// is claimed, no point of it is likelier than another, and two middles must not be compared
// to order events. Empty after an error or without bounds.
template <page_clock Clock>
std::optional<typename Clock::time_point> midpoint(const reading<Clock> &r) noexcept
{
	if (!r || !r.is_bounded())
		return std::nullopt;
	const std::int64_t ns = std::midpoint(r.raw().earliest_ns, r.raw().latest_ns);
	return typename Clock::time_point{typename Clock::duration{ns}};
}

} // namespace clockpage

template <> struct std::is_error_code_enum<clockpage::errc> : std::true_type {
};

#endif // CLOCKPAGE_CLOCKS_HPP
