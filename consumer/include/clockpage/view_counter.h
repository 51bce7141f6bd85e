/* SPDX-License-Identifier: MIT */
/*
 * The inside of clockpage/view.h: from a guest's counter to the host's, where there is a ratio to
 * undo. Nothing here is for callers; include view.h. Spec section 5.4, "The host's counter".
 */
#ifndef CLOCKPAGE_VIEW_COUNTER_H
#define CLOCKPAGE_VIEW_COUNTER_H

#ifndef CLOCKPAGE_VIEW_H
#error "include <clockpage/view.h>"
#endif

/* floor((high * 2^64) / divisor), high < divisor. Without the compiler's run-time library. */
static inline uint64_t clockpage_view_divide_(uint64_t high, uint64_t divisor)
{
#if defined(__x86_64__)
	uint64_t quotient, rest = high;
	__asm__("divq %2" : "=a"(quotient), "+d"(rest) : "r"(divisor), "a"((uint64_t)0) : "cc");
	return quotient;
#else
	uint64_t quotient = 0;
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t carry = high >> 63;
		high <<= 1;
		quotient <<= 1;
		if (carry || high >= divisor) {
			high -= divisor;
			quotient |= 1;
		}
	}
	return quotient;
#endif
}

/* How late_ticks show in ns, rounded up, an eighth more than nominal: slopes and the bounds' own
 * growth are below that. */
static inline uint64_t clockpage_view_wider_ns_(uint64_t ticks, uint64_t frequency_hz)
{
	uint64_t tick = ((uint64_t)1000000000 << 32) / (frequency_hz ? frequency_hz : 1);
	clockpage_u128 ns = ((clockpage_u128)ticks * (tick + tick / 8 + 1) >> 32) + 1;
	if (!ticks)
		return 0;
	return ns > INT64_MAX ? (uint64_t)INT64_MAX : (uint64_t)ns;
}

/* ratio > 0, frac_bits <= 63. */
static inline void clockpage_view_invert_(struct clockpage_view_reader *reader, uint64_t hz)
{
	uint64_t one = (uint64_t)1 << reader->frac_bits;
	uint64_t power_of_two = !(reader->ratio & (reader->ratio - 1));
	reader->kind |= CLOCKPAGE_VIEW_INVERTED_;
	reader->whole = one / reader->ratio;
	reader->fraction = clockpage_view_divide_(one % reader->ratio, reader->ratio);
	/* Of a power of two the quotient is exact, and the product rounded down is the first of the
	 * host's counter values that give this guest's. Else the exact product is less than that
	 * first one, and the rounded one plus 1 is not more. */
	reader->origin = power_of_two ? 0 : ~(uint64_t)0;
	reader->late_ticks =
		power_of_two ? reader->whole - (reader->whole != 0) : reader->whole + 1;
	reader->wider_ns = clockpage_view_wider_ns_(reader->late_ticks, hz);
}

/* Of a guest's counter without its offset. */
CLOCKPAGE_INLINE uint64_t clockpage_view_host_(const struct clockpage_view_reader *reader,
					       uint64_t scaled)
{
	return scaled * reader->whole + clockpage_mul_frac(scaled, reader->fraction);
}

/* The same in full: the scaled counter itself may have wrapped around, so the host's counter is
 * meant that is nearest to the newest segment's start. *wider_ns: what it adds to bounds. */
static inline uint64_t clockpage_view_near_(const struct clockpage_view_reader *reader,
					    uint64_t scaled, uint64_t start, uint64_t *wider_ns)
{
	clockpage_u128 image = (clockpage_u128)start * reader->ratio >> reader->frac_bits;
	uint64_t wraps = (uint64_t)(image >> 64), low = (uint64_t)image;
	if ((int64_t)(scaled - low) >= 0)
		wraps += scaled < low; /* past a wrap that the start is before */
	else
		wraps -= scaled > low;
	if (reader->origin && (int64_t)wraps > 0)
		*wider_ns = clockpage_view_wider_ns_(
			reader->late_ticks + wraps,
			CLOCKPAGE_LOAD(reader->data.page->counter_frequency_hz));
	return clockpage_view_host_(reader, scaled) + wraps * reader->fraction - reader->origin;
}

#endif /* CLOCKPAGE_VIEW_COUNTER_H */
