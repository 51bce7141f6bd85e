// SPDX-License-Identifier: MIT
//
// clockpage for C++20: std::chrono clocks over reader.h and libclockpage.
//
// Reading is inline, noexcept, allocates nothing and compiles to what the C reader compiles
// to; threads may share a region. Opening throws, or fills an error, as asked.
//
// Two axes, never mixed: an *error* says that no time could be read, clock_status says how
// good a time is.
//
//   const clockpage::region region;  // $CLOCKPAGE_DIR, else /run/clockpage
//   if (const auto t = clockpage::now_bounds<clockpage::realtime_clock>(region))
//     use(t.earliest(), t.latest(), t.status());
#ifndef CLOCKPAGE_CLOCKPAGE_HPP
#define CLOCKPAGE_CLOCKPAGE_HPP

#include <clockpage/clockpage.h>
#include <clockpage/clocks.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace clockpage
{

// ---- the region ---------------------------------------------------------------------

// As clockpage_open_options; an empty string is a NULL there.
struct open_options {
	std::string directory{};
	std::string view{}; // of region: only one that is the page itself (else errc::view); see
			    // view.hpp
	std::array<std::string, CLOCKPAGE_VIEW_MAX_ANCESTORS> parents{};
	std::uint8_t format = CLOCKPAGE_FORMAT_UNSCALED;
	bool smeared = false;     // the smeared page: read smeared_clock, not realtime_clock
	bool guest = false;       // CLOCKPAGE_OPEN_GUEST
	bool sealed = false;      // CLOCKPAGE_OPEN_SEALED
	bool host_clocks = false; // CLOCKPAGE_OPEN_HOST_CLOCKS
};

namespace detail
{
// Points into `options`.
inline clockpage_open_options c_form(const open_options &options) noexcept
{
	const auto c_string = [](const std::string &text) {
		return text.empty() ? nullptr : text.c_str();
	};
	clockpage_open_options c_options{};
	c_options.size = sizeof(c_options);
	c_options.directory = c_string(options.directory);
	c_options.view = c_string(options.view);
	c_options.flags = (options.guest ? CLOCKPAGE_OPEN_GUEST : 0u) |
			  (options.sealed ? CLOCKPAGE_OPEN_SEALED : 0u) |
			  (options.host_clocks ? CLOCKPAGE_OPEN_HOST_CLOCKS : 0u);
	c_options.format = options.format;
	c_options.smear = options.smeared ? 1 : 0;
	for (std::size_t i = 0; i < options.parents.size(); i++)
		c_options.parents[i] = c_string(options.parents[i]);
	return c_options;
}

// What an empty region reads: errc::revoked, instead of a null pointer.
inline constexpr clockpage_data_page withdrawn_page = [] {
	clockpage_data_page page{};
	page.revoked = CLOCKPAGE_REVOKED_REPLACED;
	return page;
}();
} // namespace detail

// A mapped region and one selected data page of it. Move-only; constant once opened, so that
// threads may share one. A view is looked at when it is opened only: it must be the page itself
// then, and what becomes of it later (set to something else, withdrawn) is not noticed, neither by
// the std::chrono clocks of a region. Who must follow a view reads through clockpage::view. An
// empty region (moved from, or one that could not be opened) can be read and gives errc::revoked.
class region
{
      public:
	// Opens; throws std::system_error of error_category(), whose what() names file and
	// reason, or std::bad_alloc.
	region() : region(open_options{})
	{
	}
	explicit region(const open_options &options)
	{
		clockpage_open_error error;
		*this = open(options, error);
		if (error.code != CLOCKPAGE_OK)
			throw std::system_error(make_error_code(static_cast<errc>(error.code)),
						error.where);
	}

	// Reads a page that the caller has mapped and validated (clockpage_reader_init) and
	// that outlives this region, for instance a PCI BAR's.
	explicit region(const clockpage_reader &reader) noexcept
	{
		select(reader);
	}

	// Never throws: an empty region and the error, or the region and a clear error.
	static region open(const open_options &options, clockpage_open_error &error) noexcept
	{
		const clockpage_open_options c_options = detail::c_form(options);
		region opened{withdrawn_reader()};
		if (clockpage_open(&c_options, &opened.handle_, &error) == CLOCKPAGE_OK)
			opened.select(*clockpage_reader_of(opened.handle_));
		return opened;
	}
	static region open(const open_options &options, std::error_code &error) noexcept
	{
		clockpage_open_error detail;
		region opened = open(options, detail);
		error.clear();
		if (detail.code != CLOCKPAGE_OK)
			error = make_error_code(static_cast<errc>(detail.code));
		return opened;
	}

	// The same, of a descriptor: see clockpage_open_fd. options.directory must be empty.
	static region open_fd(int fd, const open_options &options,
			      clockpage_open_error &error) noexcept
	{
		const clockpage_open_options c_options = detail::c_form(options);
		region opened{withdrawn_reader()};
		if (clockpage_open_fd(fd, &c_options, &opened.handle_, &error) == CLOCKPAGE_OK)
			opened.select(*clockpage_reader_of(opened.handle_));
		return opened;
	}

	region(region &&other) noexcept
	    : handle_(std::exchange(other.handle_, nullptr)),
	      reader_(std::exchange(other.reader_, withdrawn_reader())),
	      is_smeared_(std::exchange(other.is_smeared_, false))
	{
	}
	region &operator=(region &&other) noexcept
	{
		region taken(std::move(other));
		std::swap(handle_, taken.handle_);
		std::swap(reader_, taken.reader_);
		std::swap(is_smeared_, taken.is_smeared_);
		return *this;
	}
	~region()
	{
		clockpage_close(handle_);
	}

	// Whether there is a page to read.
	explicit operator bool() const noexcept
	{
		return reader_.page != &detail::withdrawn_page;
	}
	// Whether REALTIME is smeared on the selected page. False, too, on the smeared page of a
	// host that smears nothing.
	bool is_smeared() const noexcept
	{
		return is_smeared_;
	}
	// How; nothing if the page's words contradict each other (see clockpage_smear_of).
	std::optional<smear_info> smear() const noexcept
	{
		clockpage_smear words{};
		if (clockpage_smear_of(reader_.page, &words) != CLOCKPAGE_OK)
			return std::nullopt;
		return smear_info{static_cast<smear_kind>(words.kind),
				  std::chrono::seconds(words.start_s),
				  std::chrono::seconds(words.length_s)};
	}
	// The C reader of the selected page.
	const clockpage_reader &reader() const noexcept
	{
		return reader_;
	}
	// The C handle, for clockpage_directory_of and clockpage_page_of; null in an empty
	// region or one over a reader of the caller's.
	const clockpage_region *handle() const noexcept
	{
		return handle_;
	}

      private:
	void select(const clockpage_reader &reader) noexcept
	{
		reader_ = reader;
		is_smeared_ = CLOCKPAGE_LOAD(reader.page->smear) != CLOCKPAGE_SMEAR_NONE;
	}
	static clockpage_reader withdrawn_reader() noexcept
	{
		clockpage_reader reader{};
		reader.page = &detail::withdrawn_page;
		return reader;
	}

	clockpage_region *handle_ = nullptr;
	clockpage_reader reader_ = withdrawn_reader();
	bool is_smeared_ = false; // copied: as the page was when it was opened
};

// The region of open_options{}, opened on first use and never closed. Throws as region's
// constructor; the next call tries again. A region that is replaced later (errc::revoked)
// is not opened anew: programs that must outlive that open their own.
inline const region &default_region()
{
	static const region &instance = *new region; // outlives every thread's last reading
	return instance;
}

// The same of open_options{.smeared = true}: the smeared page, however the host smears.
inline const region &default_smeared_region()
{
	static const region &instance = *new region([] {
		open_options options;
		options.smeared = true;
		return options;
	}());
	return instance;
}

// ---- reading ------------------------------------------------------------------------
// As the functions of reader.h without "clockpage_"; there are the errors of each.

namespace detail
{
template <page_clock Clock>
[[gnu::always_inline]] inline result<typename Clock::time_point>
make_result(int code, std::int64_t ns) noexcept
{
	return {typename Clock::time_point{typename Clock::duration{ns}}, code};
}

// UTC is not to be read where there is another time scale. Settled before the counter is read; no
// other clock pays for it.
template <page_clock Clock>
[[gnu::always_inline]] inline bool is_other_scale(const region &r) noexcept
{
	if constexpr (std::is_same_v<Clock, realtime_clock>)
		return CLOCKPAGE_UNLIKELY(r.is_smeared());
	return false;
}
} // namespace detail

// The time now, ordered after earlier loads.
template <page_clock Clock>
[[gnu::always_inline]] inline result<typename Clock::time_point> now(const region &r) noexcept
{
	std::int64_t ns = 0;
	if (detail::is_other_scale<Clock>(r))
		return detail::make_result<Clock>(CLOCKPAGE_E_CLOCK, ns);
	const int code = clockpage_now(&r.reader(), Clock::id, &ns);
	return detail::make_result<Clock>(code, ns);
}

// The time now, ordered with nothing: for callers, such as loggers, that order themselves.
template <page_clock Clock>
[[gnu::always_inline]] inline result<typename Clock::time_point>
now_relaxed(const region &r) noexcept
{
	std::int64_t ns = 0;
	if (detail::is_other_scale<Clock>(r))
		return detail::make_result<Clock>(CLOCKPAGE_E_CLOCK, ns);
	const int code = clockpage_now_relaxed(&r.reader(), Clock::id, &ns);
	return detail::make_result<Clock>(code, ns);
}

// The time now with bounds and status.
template <page_clock Clock>
[[gnu::always_inline]] inline reading<Clock> now_bounds(const region &r) noexcept
{
	return reading<Clock>([&](clockpage_time *time) noexcept {
		if (detail::is_other_scale<Clock>(r))
			return CLOCKPAGE_E_CLOCK;
		return clockpage_now_bounds(&r.reader(), Clock::id, time);
	});
}

// The time at a value of the page's counter captured earlier (clockpage_counter_ordered,
// clockpage_counter_relaxed).
template <page_clock Clock>
[[gnu::always_inline]] inline result<typename Clock::time_point> at(const region &r,
								    std::uint64_t counter) noexcept
{
	std::int64_t ns = 0;
	if (detail::is_other_scale<Clock>(r))
		return detail::make_result<Clock>(CLOCKPAGE_E_CLOCK, ns);
	const int code = clockpage_at(&r.reader(), Clock::id, counter, &ns);
	return detail::make_result<Clock>(code, ns);
}

template <page_clock Clock>
[[gnu::always_inline]] inline reading<Clock> at_bounds(const region &r,
						       std::uint64_t counter) noexcept
{
	return reading<Clock>([&](clockpage_time *time) noexcept {
		if (detail::is_other_scale<Clock>(r))
			return CLOCKPAGE_E_CLOCK;
		return clockpage_at_bounds(&r.reader(), Clock::id, counter, time);
	});
}

// How far a bulk conversion came: times[0..converted) are valid, error or none.
struct [[nodiscard]] conversion {
	std::size_t converted;
	int code; // of the first value that could not be converted

	explicit operator bool() const noexcept
	{
		return code == CLOCKPAGE_OK;
	}
	std::error_code error() const noexcept
	{
		return *this ? std::error_code{} : make_error_code(static_cast<errc>(code));
	}
};

// The times at many counter values, bit for bit what at() gives for each; errc::argument if
// there is not room for all.
template <page_clock Clock>
conversion at(const region &r, std::span<const std::uint64_t> counters,
	      std::span<typename Clock::time_point> times) noexcept
{
	using time_point = typename Clock::time_point;
	// A time_point is its count of ns: the first member of its first member.
	static_assert(std::is_standard_layout_v<time_point> &&
		      sizeof(time_point) == sizeof(std::int64_t));
	conversion done{0, CLOCKPAGE_E_ARGUMENT};
	if (detail::is_other_scale<Clock>(r))
		done.code = CLOCKPAGE_E_CLOCK;
	else if (times.size() >= counters.size())
		done.code = clockpage_at_many(
			&r.reader(), Clock::id, counters.data(), counters.size(),
			reinterpret_cast<std::int64_t *>(times.data()), &done.converted);
	return done;
}

// A leased value, or errc::overdue after `limit` (of the page's nominal counter, taken to be
// no faster than 2^34 Hz: a page must not make its reader wait for ever). Reads again,
// busily, until then: the one function here that waits.
template <page_clock Clock>
reading<Clock> now_leased(const region &r, std::chrono::nanoseconds limit) noexcept
{
	const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(limit.count(), 0));
	const std::uint64_t frequency_hz = std::min(
		CLOCKPAGE_LOAD(r.reader().page->counter_frequency_hz), std::uint64_t{1} << 34);
	const clockpage_u128 ticks = static_cast<clockpage_u128>(ns) * frequency_hz / 1000000000u;
	const std::uint64_t most = ~std::uint64_t{0};
	const std::uint64_t limit_ticks = ticks > most ? most : static_cast<std::uint64_t>(ticks);
	return reading<Clock>([&](clockpage_time *time) noexcept {
		if (detail::is_other_scale<Clock>(r))
			return CLOCKPAGE_E_CLOCK;
		return clockpage_now_leased(&r.reader(), Clock::id, limit_ticks, time);
	});
}

template <class Clock, int Id, bool Steady>
typename basic_clock<Clock, Id, Steady>::time_point basic_clock<Clock, Id, Steady>::now()
{
	return clockpage::now<Clock>(default_region()).value();
}

inline smeared_clock::time_point smeared_clock::now()
{
	return clockpage::now<smeared_clock>(default_smeared_region()).value();
}

} // namespace clockpage

#endif // CLOCKPAGE_CLOCKPAGE_HPP
