/* SPDX-License-Identifier: MIT */
/*
 * The inside of clockpage/view.h: validating a view, its ancestors and its region, and remembering
 * what the newest view says. Nothing here is for callers; include view.h. Spec sections 5.4 and 8.
 *
 * Everything that is read here may be hostile, and may change meanwhile.
 */
#ifndef CLOCKPAGE_VIEW_TAKE_H
#define CLOCKPAGE_VIEW_TAKE_H

#ifndef CLOCKPAGE_VIEW_H
#error "include <clockpage/view.h>"
#endif

static inline int clockpage_view_check_magic_(const uint8_t *bytes, const char *magic)
{
	for (size_t i = 0; i < CLOCKPAGE_MAGIC_SIZE; i++)
		if (CLOCKPAGE_LOAD(bytes[i]) != (uint8_t)magic[i])
			return CLOCKPAGE_E_MAGIC;
	return CLOCKPAGE_OK;
}

/* The constant fields of both files. */
static inline int clockpage_view_check_headers_(const struct clockpage_view_page *v,
						const struct clockpage_directory_page *d)
{
	uint32_t size;
	int error;
	(void)clockpage_load_magic((const uint64_t *)(const void *)d); /* P3 */
	error = clockpage_view_check_magic_(d->magic, CLOCKPAGE_DIRECTORY_MAGIC);
	if (!error)
		error = clockpage_view_check_magic_(v->magic, CLOCKPAGE_VIEW_MAGIC);
	if (error)
		return error;
	if (CLOCKPAGE_LOAD(d->abi_major) != CLOCKPAGE_ABI_MAJOR ||
	    CLOCKPAGE_LOAD(v->abi_major) != CLOCKPAGE_ABI_MAJOR)
		return CLOCKPAGE_E_VERSION;
	size = CLOCKPAGE_LOAD(v->size);
	if (size < offsetof(struct clockpage_view_page, reserved2) || size > sizeof *v ||
	    CLOCKPAGE_LOAD(v->slot_count) != CLOCKPAGE_VIEW_SLOT_COUNT ||
	    CLOCKPAGE_LOAD(v->slot_size) != sizeof(struct clockpage_view_slot) ||
	    CLOCKPAGE_LOAD(d->data_page_count) != CLOCKPAGE_DATA_PAGE_COUNT ||
	    CLOCKPAGE_LOAD(d->data_page_size) != CLOCKPAGE_PAGE_SIZE ||
	    CLOCKPAGE_LOAD(d->region_size) != CLOCKPAGE_REGION_SIZE)
		return CLOCKPAGE_E_LAYOUT;
	return CLOCKPAGE_LOAD(v->generation) == CLOCKPAGE_LOAD(d->generation) ? CLOCKPAGE_OK
									      : CLOCKPAGE_E_STALE;
}

/* The data page of a format and smear, validated, into reader->data. */
static inline int clockpage_view_find_page_(struct clockpage_view_reader *reader, uint8_t format,
					    uint8_t smear)
{
	const struct clockpage_directory_page *d =
		(const struct clockpage_directory_page *)reader->region;
	for (unsigned i = 0; i < CLOCKPAGE_DATA_PAGE_COUNT; i++) {
		const struct clockpage_data_page_entry *entry = &d->data_page[i];
		uint32_t offset = CLOCKPAGE_LOAD(entry->offset_bytes);
		const struct clockpage_data_page *page;
		int error;
		if (CLOCKPAGE_LOAD(entry->format) != format ||
		    (CLOCKPAGE_LOAD(entry->smear) != 0) != (smear != 0))
			continue;
		if (offset % CLOCKPAGE_PAGE_SIZE || offset < CLOCKPAGE_PAGE_SIZE ||
		    offset > CLOCKPAGE_REGION_SIZE - CLOCKPAGE_PAGE_SIZE)
			return CLOCKPAGE_E_LAYOUT;
		page = (const struct clockpage_data_page *)(const void *)((const uint8_t *)d +
									  offset);
		error = clockpage_reader_take_(&reader->data, page, sizeof *page);
		if (error)
			return error;
		return CLOCKPAGE_LOAD(page->format) == format &&
				       CLOCKPAGE_LOAD(page->generation) ==
					       CLOCKPAGE_LOAD(d->generation)
			       ? CLOCKPAGE_OK
			       : CLOCKPAGE_E_LAYOUT;
	}
	return CLOCKPAGE_E_LAYOUT;
}

/* What an ancestor must be, whatever it says: a view page of the region. */
static inline int clockpage_view_check_ancestor_(const struct clockpage_view_reader *reader,
						 const struct clockpage_view_page *ancestor)
{
	return clockpage_view_check_headers_(
		ancestor, (const struct clockpage_directory_page *)reader->region);
}

/* Remembers the numbers of the ancestors' slots that make up the chain which begins with `parent`,
 * what the view's own slot names. At most as many as were given: no chain is endless, whatever
 * parents name. Returns 0; CLOCKPAGE_E_VIEW: an ancestor was not given, or has been withdrawn;
 * CLOCKPAGE_E_DISRUPTED: one is not what its child was composed from any more; and as
 * clockpage_view_check_headers_. As long as clockpage_view_is_same_ then holds, so does it. */
static inline int clockpage_view_take_ancestors_(struct clockpage_view_reader *reader,
						 uint64_t parent)
{
	while (parent) {
		const struct clockpage_view_page *ancestor;
		const struct clockpage_view_slot *s;
		uint64_t number;
		int error;
		if (reader->depth == reader->ancestor_count)
			return CLOCKPAGE_E_VIEW;
		ancestor = reader->ancestor[reader->depth];
		/* P1, with who composed the child: it had seen this number. The slot is in, too. */
		number = clockpage_load_index(&ancestor->index);
		error = clockpage_view_check_ancestor_(reader, ancestor);
		if (error)
			return error;
		if (number != parent)
			return CLOCKPAGE_E_DISRUPTED;
		reader->ancestor_number[reader->depth++] = number;
		s = &ancestor->slot[number % CLOCKPAGE_VIEW_SLOT_COUNT];
		if (CLOCKPAGE_LOAD(s->number) != number)
			return CLOCKPAGE_E_LAYOUT;
		if (!CLOCKPAGE_LOAD(s->counter_ratio))
			return CLOCKPAGE_E_VIEW;
		parent = CLOCKPAGE_LOAD(s->parent_generation);
	}
	if (reader->depth)
		reader->kind |= CLOCKPAGE_VIEW_NESTED_;
	return CLOCKPAGE_OK;
}

/* Whether the ancestors still are those that the reader remembers. Behind a fence that pairs with
 * their writers' (P2). */
CLOCKPAGE_INLINE int clockpage_view_same_ancestors_(const struct clockpage_view_reader *reader)
{
	for (uint32_t i = 0; i < reader->depth; i++)
		if (CLOCKPAGE_LOAD(reader->ancestor[i]->index) != reader->ancestor_number[i])
			return 0;
	return 1;
}

/* The newest slot, and what it makes of the counter. Whether it was one slot the caller finds out
 * by looking at the index again. */
static inline int clockpage_view_take_slot_(struct clockpage_view_reader *reader)
{
	const struct clockpage_view_slot *s =
		&reader->view->slot[reader->number % CLOCKPAGE_VIEW_SLOT_COUNT];
	uint64_t number = CLOCKPAGE_LOAD(s->number), parent = CLOCKPAGE_LOAD(s->parent_generation);
	uint64_t page_ratio, hz;
	uint8_t format = CLOCKPAGE_LOAD(s->format), smear = CLOCKPAGE_LOAD(s->smear), page_bits;
	int error;
	reader->counter_offset = (uint64_t)CLOCKPAGE_LOAD(s->counter_offset);
	reader->ratio = CLOCKPAGE_LOAD(s->counter_ratio);
	reader->frac_bits = CLOCKPAGE_LOAD(s->counter_frac_bits);
	reader->monotonic_offset_ns = (uint64_t)CLOCKPAGE_LOAD(s->monotonic_offset_ns);
	reader->boottime_offset_ns = (uint64_t)CLOCKPAGE_LOAD(s->boottime_offset_ns);
	reader->disruption_marker = CLOCKPAGE_LOAD(s->disruption_marker);
	if (number != reader->number)
		return CLOCKPAGE_E_LAYOUT;
	if (format > CLOCKPAGE_FORMAT_SCALED || !reader->ratio ||
	    (reader->frac_bits == 0 ? reader->ratio != 1
				    : reader->frac_bits != 32 && reader->frac_bits != 48))
		return CLOCKPAGE_E_VIEW;
	reader->kind = 0;
	error = clockpage_view_take_ancestors_(reader, parent);
	if (!error)
		error = clockpage_view_find_page_(reader, format, smear);
	if (error)
		return error;
	page_ratio = CLOCKPAGE_LOAD(reader->data.page->scale_ratio);
	page_bits = CLOCKPAGE_LOAD(reader->data.page->scale_frac_bits);
	hz = CLOCKPAGE_LOAD(reader->data.page->counter_frequency_hz);
	reader->origin = reader->counter_offset;
	reader->late_ticks = reader->wider_ns = 0;
	if (format == CLOCKPAGE_FORMAT_UNSCALED && (page_ratio != 1 || page_bits))
		return CLOCKPAGE_E_LAYOUT;
	if (reader->ratio == page_ratio && reader->frac_bits == page_bits)
		return CLOCKPAGE_OK;
	if (format != CLOCKPAGE_FORMAT_UNSCALED)
		return CLOCKPAGE_E_VIEW;
	if (reader->ratio != (uint64_t)1 << reader->frac_bits)
		clockpage_view_invert_(reader, hz);
	return CLOCKPAGE_OK;
}

/* Fills *reader, which has its mappings, for the view as it is now. Its `data.rdtscp` stays. */
static inline int clockpage_view_reader_take_(struct clockpage_view_reader *reader)
{
	for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
		int error;
		reader->depth = 0;
		reader->number = clockpage_load_index(&reader->view->index); /* P1 */
		error = clockpage_view_check_headers_(
			reader->view, (const struct clockpage_directory_page *)reader->region);
		if (!error)
			error = clockpage_view_take_slot_(reader);
		clockpage_fence_before_recheck(); /* P2, with the writers of all of them */
		if (CLOCKPAGE_LOAD(reader->view->index) == reader->number &&
		    clockpage_view_same_ancestors_(reader))
			return error;
	}
	return CLOCKPAGE_E_BUSY;
}

#endif /* CLOCKPAGE_VIEW_TAKE_H */
