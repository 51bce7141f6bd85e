// SPDX-License-Identifier: MIT
//
// What a region and a view must be before anything in them is believed.
#include <cinttypes>
#include <cstddef>
#include <cstring>

#include "open_error.hpp"
#include "smear.hpp"

namespace clockpage::detail {
namespace {

#if defined(__x86_64__)
constexpr unsigned this_counter_kind = CLOCKPAGE_COUNTER_X86_TSC;
#else
constexpr unsigned this_counter_kind = CLOCKPAGE_COUNTER_ARM_CNTVCT;
#endif

bool is_aligned(const void* bytes) {
  return reinterpret_cast<std::uintptr_t>(bytes) % alignof(clockpage_data_page) == 0;
}

// The three fields that all pages begin with, in the order in which they make sense. Where
// there is reserved space to grow into, `size` may say that some of it is used.
template <typename Page>
int check_identity(const Page& page, const char* magic, std::size_t least_size,
                   clockpage_open_error* error) {
  if (std::memcmp(page.magic, magic, CLOCKPAGE_MAGIC_SIZE) != 0) {
    return refuse(error, CLOCKPAGE_E_MAGIC, "magic is not %s", magic);
  }
  if (page.abi_major != CLOCKPAGE_ABI_MAJOR) {
    return refuse(error, CLOCKPAGE_E_VERSION, "abi_major is %u, this reader knows %d",
                  unsigned{page.abi_major}, CLOCKPAGE_ABI_MAJOR);
  }
  if (page.size < least_size || page.size > sizeof(Page)) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "size is %u, not %zu to %zu", unsigned{page.size},
                  least_size, sizeof(Page));
  }
  return CLOCKPAGE_OK;
}

int check_directory(const clockpage_directory_page& d, clockpage_open_error* error) {
  const int code = check_identity(d, CLOCKPAGE_DIRECTORY_MAGIC,
                                  offsetof(clockpage_directory_page, reserved1), error);
  if (code != CLOCKPAGE_OK) return code;
  if (d.region_size != CLOCKPAGE_REGION_SIZE) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "region_size is %" PRIu64 ", not %d", d.region_size,
                  CLOCKPAGE_REGION_SIZE);
  }
  if (d.counter_kind != this_counter_kind) {
    return refuse(error, CLOCKPAGE_E_COUNTER, "counter_kind is %u, not this machine's",
                  unsigned{d.counter_kind});
  }
  if (d.counter_frequency_hz == 0) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "counter_frequency_hz is 0");
  }
  if (d.counter_quantum_ticks == 0) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "counter_quantum_ticks is 0");
  }
  if (d.data_page_count != CLOCKPAGE_DATA_PAGE_COUNT) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "data_page_count is %u, not %d",
                  unsigned{d.data_page_count}, CLOCKPAGE_DATA_PAGE_COUNT);
  }
  if (d.data_page_size != CLOCKPAGE_PAGE_SIZE) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "data_page_size is %u, not %d",
                  unsigned{d.data_page_size}, CLOCKPAGE_PAGE_SIZE);
  }
  return CLOCKPAGE_OK;
}

// Page i lies in the region, behind the directory, on no other page, and is the only one of
// its format and smear. Offsets are multiples of the page size, so distinct means disjoint.
int check_entry(const clockpage_directory_page& d, unsigned i, clockpage_open_error* error) {
  const clockpage_data_page_entry& entry = d.data_page[i];
  if (entry.offset_bytes % CLOCKPAGE_PAGE_SIZE != 0 || entry.offset_bytes < CLOCKPAGE_PAGE_SIZE ||
      entry.offset_bytes > CLOCKPAGE_REGION_SIZE - CLOCKPAGE_PAGE_SIZE) {
    return refuse(error, CLOCKPAGE_E_LAYOUT,
                  "data_page[%u].offset_bytes is %u, no multiple of %d inside the region", i,
                  unsigned{entry.offset_bytes}, CLOCKPAGE_PAGE_SIZE);
  }
  if (entry.format > CLOCKPAGE_FORMAT_SCALED) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "data_page[%u].format is %u", i,
                  unsigned{entry.format});
  }
  for (unsigned j = 0; j < i; j++) {
    const clockpage_data_page_entry& other = d.data_page[j];
    if (entry.offset_bytes == other.offset_bytes) {
      return refuse(error, CLOCKPAGE_E_LAYOUT, "data_page[%u].offset_bytes is data_page[%u]'s", i,
                    j);
    }
    if (entry.format == other.format && (entry.smear != 0) == (other.smear != 0)) {
      return refuse(error, CLOCKPAGE_E_LAYOUT, "data_page[%u].format and smear are data_page[%u]'s",
                    i, j);
    }
  }
  return CLOCKPAGE_OK;
}

// The constant field that clockpage_reader_init (which says only "layout") stumbled over.
const char* bad_layout_field(const clockpage_data_page& p) {
  if (p.size != sizeof(p)) return "size";
  if (p.segment_count != CLOCKPAGE_SEGMENT_COUNT) return "segment_count";
  if (p.segment_size != CLOCKPAGE_SEGMENT_SIZE) return "segment_size";
  if (p.segment_offset != CLOCKPAGE_SEGMENT_OFFSET) return "segment_offset";
  if (p.delta_shift > CLOCKPAGE_MAX_DELTA_SHIFT) return "delta_shift";
  if (p.scale_ratio == 0) return "scale_ratio";
  if (p.scale_frac_bits > 63) return "scale_frac_bits";
  if (p.counter_frequency_hz == 0) return "counter_frequency_hz";
  return "a constant field";
}

int refuse_header(const clockpage_data_page& p, unsigned i, int code, clockpage_open_error* error) {
  switch (code) {
    case CLOCKPAGE_E_MAGIC:
      return refuse(error, code, "data page %u: magic is not %s", i, CLOCKPAGE_DATA_MAGIC);
    case CLOCKPAGE_E_VERSION:
      return refuse(error, code, "data page %u: abi_major is %u, this reader knows %d", i,
                    unsigned{p.abi_major}, CLOCKPAGE_ABI_MAJOR);
    case CLOCKPAGE_E_LAYOUT:
      return refuse(error, code, "data page %u: %s is impossible", i, bad_layout_field(p));
    case CLOCKPAGE_E_COUNTER:
      return refuse(error, code, "data page %u: counter_kind is %u, not this machine's", i,
                    unsigned{p.counter_kind});
    default:
      return refuse(error, code, "data page %u: %s", i, clockpage_strerror(code));
  }
}

// The slot that index names carries its number, unless it changes in every pass (which a live
// writer cannot do: it would have to go round the ring in each).
template <typename Slots>
bool newest_is_there(const std::uint64_t* index, const Slots& slots, std::size_t count) {
  for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
    const std::uint64_t newest = clockpage_load_index(index);
    if (CLOCKPAGE_LOAD(slots[newest % count].number) == newest) return true;
  }
  return false;
}

// Kind, start and length as the page has them. In ABI 1.0 the last two were reserved, and zero.
Smear smear_words(const clockpage_data_page& p) {
  return {CLOCKPAGE_LOAD(p.smear), CLOCKPAGE_LOAD(p.smear_start_s),
          CLOCKPAGE_LOAD(p.smear_length_s)};
}

bool smear_agrees(const Smear& smear, bool abi_1_0) {
  if (abi_1_0)  // it had no words for what a linear smear needs
    return smear.kind != CLOCKPAGE_SMEAR_LINEAR && smear.start_s == 0 && smear.length_s == 0;
  switch (smear.kind) {
    case CLOCKPAGE_SMEAR_NONE:
      return smear == kNoSmear;
    case CLOCKPAGE_SMEAR_NOON:
      return smear == kNoonSmear;
    case CLOCKPAGE_SMEAR_UTC_SLS:
      return smear == kUtcSls;
    default:
      return smear.length_s >= kMinSmearLength && smear.length_s <= kMaxSmearLength &&
             smear.start_s <= 0 && smear.start_s >= -static_cast<std::int64_t>(smear.length_s);
  }
}

int check_smear(const clockpage_data_page& p, const clockpage_data_page_entry& entry, unsigned i,
                clockpage_open_error* error) {
  const Smear smear = smear_words(p);
  if (smear.kind > CLOCKPAGE_SMEAR_LINEAR ||
      (entry.smear == 0 && smear.kind != CLOCKPAGE_SMEAR_NONE)) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "data page %u: smear is %u, the directory's %u", i,
                  unsigned{smear.kind}, unsigned{entry.smear});
  }
  const bool abi_1_0 = CLOCKPAGE_LOAD(p.abi_minor) == 0;
  if (!smear_agrees(smear, abi_1_0)) {
    return refuse(error, CLOCKPAGE_E_LAYOUT,
                  "data page %u: smear %u does not begin at %" PRId32 " s and last %" PRIu32
                  " s in ABI 1.%u",
                  i, unsigned{smear.kind}, smear.start_s, smear.length_s,
                  unsigned{CLOCKPAGE_LOAD(p.abi_minor)});
  }
  return CLOCKPAGE_OK;
}

int check_data_page(const clockpage_data_page& p, const clockpage_directory_page& d, unsigned i,
                    clockpage_open_error* error) {
  const clockpage_data_page_entry& entry = d.data_page[i];
  clockpage_reader reader{};
  const int code = clockpage_reader_init(&reader, &p, sizeof(p));
  if (code != CLOCKPAGE_OK) return refuse_header(p, i, code, error);
  if (p.format != entry.format) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "data page %u: format is %u, the directory's %u", i,
                  unsigned{p.format}, unsigned{entry.format});
  }
  const int smear = check_smear(p, entry, i, error);
  if (smear != CLOCKPAGE_OK) return smear;
  if (p.format == CLOCKPAGE_FORMAT_UNSCALED && (p.scale_ratio != 1 || p.scale_frac_bits != 0)) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "data page %u: an unscaled page has a scale_ratio", i);
  }
  if (p.generation != d.generation) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "data page %u: generation is not the directory's", i);
  }
  if (!newest_is_there(&p.index, p.segment, CLOCKPAGE_SEGMENT_COUNT)) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "data page %u: index names no segment", i);
  }
  return CLOCKPAGE_OK;
}

int check_view_header(const clockpage_view_page& v, const clockpage_directory_page* directory,
                      clockpage_open_error* error) {
  const int code =
      check_identity(v, CLOCKPAGE_VIEW_MAGIC, offsetof(clockpage_view_page, reserved2), error);
  if (code != CLOCKPAGE_OK) return code;
  if (v.slot_count != CLOCKPAGE_VIEW_SLOT_COUNT) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "slot_count is %u, not %d", unsigned{v.slot_count},
                  CLOCKPAGE_VIEW_SLOT_COUNT);
  }
  if (v.slot_size != sizeof(clockpage_view_slot)) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "slot_size is %u, not %zu", unsigned{v.slot_size},
                  sizeof(clockpage_view_slot));
  }
  if (directory != nullptr && v.generation != directory->generation) {
    return refuse(error, CLOCKPAGE_E_STALE, "generation is not the region's");
  }
  return CLOCKPAGE_OK;
}

// A consistent copy of the newest slot: index, slot, index.
bool copy_newest_slot(const clockpage_view_page& v, clockpage_view_slot& slot) {
  for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
    const std::uint64_t newest = clockpage_load_index(&v.index);
    const auto* from =
        reinterpret_cast<const std::uint64_t*>(&v.slot[newest % CLOCKPAGE_VIEW_SLOT_COUNT]);
    std::uint64_t words[sizeof(slot) / sizeof(std::uint64_t)];
    for (std::size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
      words[i] = CLOCKPAGE_LOAD(from[i]);
    }
    clockpage_fence_before_recheck();
    std::memcpy(&slot, words, sizeof(slot));
    if (CLOCKPAGE_LOAD(v.index) == newest && slot.number == newest) return true;
  }
  return false;
}

int check_slot(const clockpage_view_slot& slot, const clockpage_directory_page* directory,
               clockpage_open_error* error) {
  const bool withdrawn = slot.counter_ratio == 0 && slot.counter_frac_bits == 0;
  if (slot.counter_ratio == 0 && !withdrawn) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "counter_ratio is 0 with fraction bits");
  }
  const unsigned bits = slot.counter_frac_bits;
  if (bits != 0 && bits != 32 && bits != 48) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "counter_frac_bits is %u, not 0, 32 or 48", bits);
  }
  if (bits == 0 && slot.counter_ratio != 1 && !withdrawn) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "counter_ratio is %" PRIu64 " without fraction bits",
                  slot.counter_ratio);
  }
  const bool known = directory != nullptr
                         ? find_entry(*directory, slot.format, slot.smear) != nullptr
                         : slot.format <= CLOCKPAGE_FORMAT_SCALED;
  if (!known) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "the region has no page of format %u, smear %u",
                  unsigned{slot.format}, unsigned{slot.smear});
  }
  return CLOCKPAGE_OK;
}

}  // namespace

const clockpage_data_page_entry* find_entry(const clockpage_directory_page& directory,
                                            unsigned format, unsigned smear) noexcept {
  for (const clockpage_data_page_entry& entry : directory.data_page) {
    if (entry.format == format && (entry.smear != 0) == (smear != 0)) return &entry;
  }
  return nullptr;
}

int read_directory(const void* bytes, std::size_t length, clockpage_directory_page& directory,
                   clockpage_open_error* error) noexcept {
  if (bytes == nullptr || !is_aligned(bytes)) {
    return refuse(error, CLOCKPAGE_E_ARGUMENT, "bytes is null or not 8-byte aligned");
  }
  if (length != CLOCKPAGE_REGION_SIZE) {
    return refuse(error, CLOCKPAGE_E_SIZE, "size is %zu bytes, not %d", length,
                  CLOCKPAGE_REGION_SIZE);
  }
  // P3: what is there of the rest is as old as this magic at least. The copy's own may be newer.
  const std::uint64_t magic = clockpage_load_magic(static_cast<const std::uint64_t*>(bytes));
  std::memcpy(&directory, bytes, sizeof(directory));
  std::memcpy(directory.magic, &magic, sizeof(magic));
  int code = check_directory(directory, error);
  for (unsigned i = 0; i < CLOCKPAGE_DATA_PAGE_COUNT && code == CLOCKPAGE_OK; i++) {
    code = check_entry(directory, i, error);
  }
  if (code != CLOCKPAGE_OK) return code;
  const auto* base = static_cast<const std::byte*>(bytes);
  for (unsigned i = 0; i < CLOCKPAGE_DATA_PAGE_COUNT; i++) {
    const auto* page =
        reinterpret_cast<const clockpage_data_page*>(base + directory.data_page[i].offset_bytes);
    code = check_data_page(*page, directory, i, error);
    if (code != CLOCKPAGE_OK) return code;
  }
  return accept(error);
}

int read_view(const void* bytes, std::size_t length, const clockpage_directory_page* directory,
              clockpage_view_slot& slot, clockpage_open_error* error) noexcept {
  if (bytes == nullptr || !is_aligned(bytes)) {
    return refuse(error, CLOCKPAGE_E_ARGUMENT, "bytes is null or not 8-byte aligned");
  }
  if (length != sizeof(clockpage_view_page)) {
    return refuse(error, CLOCKPAGE_E_SIZE, "size is %zu bytes, not %zu", length,
                  sizeof(clockpage_view_page));
  }
  const auto& view = *static_cast<const clockpage_view_page*>(bytes);
  int code = check_view_header(view, directory, error);
  if (code != CLOCKPAGE_OK) return code;
  if (!copy_newest_slot(view, slot)) {
    return refuse(error, CLOCKPAGE_E_LAYOUT, "index names no slot");
  }
  code = check_slot(slot, directory, error);
  return code != CLOCKPAGE_OK ? code : accept(error);
}

}  // namespace clockpage::detail

int clockpage_smear_of(const clockpage_data_page* page, clockpage_smear* smear) {
  using namespace clockpage;
  if (page == nullptr || smear == nullptr) return CLOCKPAGE_E_ARGUMENT;
  Smear words = detail::smear_words(*page);
  const bool abi_1_0 = CLOCKPAGE_LOAD(page->abi_minor) == 0;
  if (words.kind > CLOCKPAGE_SMEAR_LINEAR || !detail::smear_agrees(words, abi_1_0))
    return CLOCKPAGE_E_LAYOUT;
  if (abi_1_0 && words.kind == CLOCKPAGE_SMEAR_NOON) words = kNoonSmear;
  if (abi_1_0 && words.kind == CLOCKPAGE_SMEAR_UTC_SLS) words = kUtcSls;
  *smear = {words.kind, {}, words.start_s, words.length_s};
  return CLOCKPAGE_OK;
}

int clockpage_validate_region(const void* bytes, size_t length, clockpage_open_error* error) {
  clockpage_directory_page directory;
  return clockpage::detail::read_directory(bytes, length, directory, error);
}

int clockpage_validate_view(const void* bytes, size_t length,
                            const clockpage_directory_page* directory,
                            clockpage_open_error* error) {
  clockpage_view_slot slot;
  return clockpage::detail::read_view(bytes, length, directory, slot, error);
}
