// SPDX-License-Identifier: MIT
//
// clockpage's views for C++20: what one guest or time namespace makes of the pages that all share.
// Over view.h, which says how and what it costs.
//
//   const clockpage::view view;  // $CLOCKPAGE_VIEW
//   clockpage::view_reader reader = view.reader();  // one for each thread
//   reader.refresh();                               // now and then: the view may have changed
//   const auto marker = clockpage::marker(reader);
//   const std::uint64_t counter = clockpage_counter_relaxed();
//   ...
//   const auto t = clockpage::at<clockpage::monotonic_clock>(reader, counter, *marker);
//   if (t.code() == CLOCKPAGE_E_DISRUPTED) ...  // what that value meant is not known any more
//
// The time_points of a view are of the same types as the host's, and so are not told from them:
// MONOTONIC, RAW and BOOTTIME of two views, or of a view and its host, are different time scales.
#ifndef CLOCKPAGE_VIEW_HPP
#define CLOCKPAGE_VIEW_HPP

#include <clockpage/clockpage.hpp>
#include <clockpage/view.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <type_traits>
#include <utility>

namespace clockpage
{

namespace detail
{
// What an empty view reads: one that has been withdrawn.
inline constexpr clockpage_view_page withdrawn_view = [] {
	clockpage_view_page page{};
	for (unsigned i = 0; i < CLOCKPAGE_MAGIC_SIZE; i++)
		page.magic[i] = static_cast<std::uint8_t>(CLOCKPAGE_VIEW_MAGIC[i]);
	page.abi_major = CLOCKPAGE_ABI_MAJOR;
	page.size = sizeof(page);
	page.slot_count = CLOCKPAGE_VIEW_SLOT_COUNT;
	page.slot_size = sizeof(clockpage_view_slot);
	return page;
}();
inline constexpr clockpage_directory_page no_directory = [] {
	clockpage_directory_page page{};
	for (unsigned i = 0; i < CLOCKPAGE_MAGIC_SIZE; i++)
		page.magic[i] = static_cast<std::uint8_t>(CLOCKPAGE_DIRECTORY_MAGIC[i]);
	page.abi_major = CLOCKPAGE_ABI_MAJOR;
	page.data_page_count = CLOCKPAGE_DATA_PAGE_COUNT;
	page.data_page_size = CLOCKPAGE_PAGE_SIZE;
	page.region_size = CLOCKPAGE_REGION_SIZE;
	return page;
}();
inline clockpage_view_reader withdrawn_view_reader() noexcept
{
	clockpage_view_reader reader{};
	reader.view = &withdrawn_view;
	reader.region = &no_directory;
	reader.data.page = &withdrawn_page;
	return reader;
}
} // namespace detail

// Reads through a view that others have mapped, which must outlive it. A value: copy it, one for
// each thread that refreshes its own. Reading is const, and so may be shared; refresh() is not.
class view_reader
{
      public:
	// errc::view, for ever.
	view_reader() noexcept : reader_(detail::withdrawn_view_reader())
	{
	}
	// Of clockpage_view_reader_init or _init_nested.
	explicit view_reader(const clockpage_view_reader &reader) noexcept : reader_(reader)
	{
	}
	// Whether the view and its ancestors are those that this was made for. It reads right in
	// any case, but some 60 ns slower if not.
	bool is_current() const noexcept
	{
		return clockpage_view_reader_is_current(&reader_) != 0;
	}
	// Takes the view as it is now, if it is another one than before: a few loads if not. With
	// an error this reader stays what it was, and reading gives the same error.
	std::error_code refresh() noexcept
	{
		if (CLOCKPAGE_LIKELY(is_current()))
			return {};
		const int code = clockpage_view_reader_refresh(&reader_);
		return code == CLOCKPAGE_OK ? std::error_code{}
					    : make_error_code(static_cast<errc>(code));
	}
	const clockpage_view_reader &reader() const noexcept // the C one
	{
		return reader_;
	}

      private:
	clockpage_view_reader reader_;
};

// A region mapped together with a view of it, and with the views that this one is composed from.
// Move-only; constant once opened. An empty one (moved from, or that could not be opened) gives
// errc::view.
class view
{
      public:
	// Opens; throws std::system_error of error_category(), whose what() names file and reason,
	// or std::bad_alloc. options.view empty: $CLOCKPAGE_VIEW; where that is unset too,
	// errc::view.
	view() : view(open_options{})
	{
	}
	explicit view(const open_options &options)
	{
		clockpage_open_error error;
		*this = open(options, error);
		if (error.code != CLOCKPAGE_OK)
			throw std::system_error(make_error_code(static_cast<errc>(error.code)),
						error.where);
	}
	// Never throws: an empty view and the error, or the view and a clear error.
	static view open(const open_options &options, clockpage_open_error &error) noexcept
	{
		const clockpage_open_options c_options = c_form(options);
		view opened{nullptr};
		if (clockpage_open(&c_options, &opened.handle_, &error) == CLOCKPAGE_OK)
			opened.take(error);
		return opened;
	}
	// The same, the region by a descriptor: see clockpage_open_fd. options.directory is empty.
	static view open_fd(int fd, const open_options &options,
			    clockpage_open_error &error) noexcept
	{
		const clockpage_open_options c_options = c_form(options);
		view opened{nullptr};
		if (clockpage_open_fd(fd, &c_options, &opened.handle_, &error) == CLOCKPAGE_OK)
			opened.take(error);
		return opened;
	}
	view(view &&other) noexcept
	    : handle_(std::exchange(other.handle_, nullptr)),
	      reader_(std::exchange(other.reader_, view_reader{}))
	{
	}
	view &operator=(view &&other) noexcept
	{
		view taken(std::move(other));
		std::swap(handle_, taken.handle_);
		std::swap(reader_, taken.reader_);
		return *this;
	}
	~view()
	{
		clockpage_close(handle_);
	}
	explicit operator bool() const noexcept
	{
		return handle_ != nullptr;
	}
	// As the view was when it was opened. Invalid once this is gone or has been moved to.
	const view_reader &reader() const noexcept
	{
		return reader_;
	}
	// The C handle; null in an empty view.
	const clockpage_region *handle() const noexcept
	{
		return handle_;
	}

      private:
	explicit view(std::nullptr_t) noexcept
	{
	}
	static clockpage_open_options c_form(const open_options &options) noexcept
	{
		clockpage_open_options c_options = detail::c_form(options);
		c_options.flags |= CLOCKPAGE_OPEN_VIEW;
		return c_options;
	}
	void take(clockpage_open_error &error) noexcept
	{
		const clockpage_view_reader *const reader = clockpage_view_reader_of(handle_);
		if (reader != nullptr) {
			reader_ = view_reader{*reader};
			return;
		}
		static constexpr char reason[] = "no view was named, by the options or by "
						 "$" CLOCKPAGE_VIEW_VARIABLE;
		clockpage_close(std::exchange(handle_, nullptr));
		error = {};
		error.code = CLOCKPAGE_E_VIEW;
		std::memcpy(error.where, reason, sizeof(reason));
	}

	clockpage_region *handle_ = nullptr;
	view_reader reader_;
};

// A reading through a view.
template <page_clock Clock> class [[nodiscard]] view_reading : public reading<Clock>
{
      public:
	// read(&time) fills a clockpage_view_time and returns a code, as view.h's functions do.
	template <class Read>
	requires std::is_nothrow_invocable_r_v<int, Read, clockpage_view_time *>
	[[gnu::always_inline]] static view_reading of(Read read) noexcept
	{
		clockpage_view_time time;
		int code = read(&time);
		// UTC is not to be read where the view chose another time scale.
		if (std::is_same_v<Clock, realtime_clock> && code == CLOCKPAGE_OK &&
		    CLOCKPAGE_UNLIKELY(time.time.smear != CLOCKPAGE_SMEAR_NONE))
			code = CLOCKPAGE_E_CLOCK;
		return view_reading(time, code);
	}
	// The value of the guest's counter that this is the time of; 0 after an error. counter() is
	// the page's.
	std::uint64_t guest_counter() const noexcept
	{
		return guest_counter_;
	}
	// Another one than before: what was derived from counter values is void. 0 after an error.
	std::uint64_t disruption_marker() const noexcept
	{
		return disruption_marker_;
	}

      private:
	[[gnu::always_inline]] view_reading(const clockpage_view_time &time, int code) noexcept
	    : reading<Clock>([&](clockpage_time *out) noexcept {
		      if (code == CLOCKPAGE_OK)
			      *out = time.time;
		      return code;
	      }),
	      guest_counter_(code == CLOCKPAGE_OK ? time.guest_counter : 0),
	      disruption_marker_(code == CLOCKPAGE_OK ? time.disruption_marker : 0)
	{
	}

	std::uint64_t guest_counter_, disruption_marker_;
};

// ---- reading ------------------------------------------------------------------------
// As the functions of view.h without "clockpage_view_"; there are the errors of each.

// The time now with bounds, status and marker.
template <page_clock Clock>
[[gnu::always_inline]] inline view_reading<Clock> now_bounds(const view_reader &r) noexcept
{
	return view_reading<Clock>::of([&](clockpage_view_time *time) noexcept {
		return clockpage_view_now_bounds(&r.reader(), Clock::id, time);
	});
}

// The time now, ordered after earlier loads.
template <page_clock Clock>
[[gnu::always_inline]] inline result<typename Clock::time_point> now(const view_reader &r) noexcept
{
	if constexpr (std::is_same_v<Clock, realtime_clock>) {
		// Which page it was only the whole result tells: the view may have changed.
		const auto reading = now_bounds<Clock>(r);
		return {reading.value(), reading.code()};
	} else {
		std::int64_t ns = 0;
		const int code = clockpage_view_now(&r.reader(), Clock::id, &ns);
		return detail::make_result<Clock>(code, ns);
	}
}

// The disruption marker that counter values captured from now on are given with.
inline result<std::uint64_t> marker(const view_reader &r) noexcept
{
	std::uint64_t marker = 0;
	const int code = clockpage_view_marker(&r.reader(), &marker);
	return {marker, code};
}

// The time at a value of the guest's counter that was captured after `marker` was the view's.
template <page_clock Clock>
[[gnu::always_inline]] inline view_reading<Clock>
at_bounds(const view_reader &r, std::uint64_t guest_counter, std::uint64_t marker) noexcept
{
	return view_reading<Clock>::of([&](clockpage_view_time *time) noexcept {
		return clockpage_view_at_bounds(&r.reader(), Clock::id, guest_counter, marker,
						time);
	});
}
template <page_clock Clock>
[[gnu::always_inline]] inline result<typename Clock::time_point>
at(const view_reader &r, std::uint64_t guest_counter, std::uint64_t marker) noexcept
{
	if constexpr (std::is_same_v<Clock, realtime_clock>) {
		const auto reading = at_bounds<Clock>(r, guest_counter, marker);
		return {reading.value(), reading.code()};
	} else {
		std::int64_t ns = 0;
		const int code =
			clockpage_view_at(&r.reader(), Clock::id, guest_counter, marker, &ns);
		return detail::make_result<Clock>(code, ns);
	}
}

} // namespace clockpage

#endif // CLOCKPAGE_VIEW_HPP
