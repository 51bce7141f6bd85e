// SPDX-License-Identifier: MIT
#include "causal_past.hpp"

namespace clockpage::tool {
namespace {

bool later(uint64_t a, uint64_t b) { return static_cast<int64_t>(a - b) > 0; }

}  // namespace

void CausalPast::keep_later(PastReading& kept, const PastReading& other) {
  if (other.known && (!kept.known || later(other.counter, kept.counter))) kept = other;
}

// Values of different epochs are not ordered: those of the newer epoch count.
void CausalPast::keep_larger(PastReading& kept, const PastReading& other) {
  if (!other.known) return;
  if (!kept.known || later(other.epoch, kept.epoch) ||
      (other.epoch == kept.epoch && backward_by(other.ns, other.flags, kept.ns, kept.flags) > 0))
    kept = other;
}

void CausalPast::merge(const CausalPast& other) {
  for (uint8_t f = 0; f < kFormats; f++)
    if (other.has_index_[f]) add_index(f, other.index_[f]);
  keep_later(host_, other.host_);
  keep_later(scaled_, other.scaled_);
  for (unsigned c = 0; c < kClocks; c++)
    for (unsigned f = 0; f < kFormats; f++) keep_larger(value_[c][f], other.value_[c][f]);
}

void CausalPast::add_index(uint8_t format, uint64_t index) {
  if (has_index_[format] && !later(index, index_[format])) return;
  has_index_[format] = true;
  index_[format] = index;
}

void CausalPast::add(const HistoryReading& reading, unsigned clock, uint64_t scaled, bool ordered) {
  PastReading entry = PastReading::of(reading);
  if (ordered) keep_larger(value_[clock][reading.format], entry);
  if (reading.format == CLOCKPAGE_FORMAT_UNSCALED) keep_later(host_, entry);
  entry.counter = scaled;
  keep_later(scaled_, entry);
}

bool CausalPast::index(uint8_t format, uint64_t& out) const {
  out = index_[format];
  return has_index_[format];
}

}  // namespace clockpage::tool
