// SPDX-License-Identifier: MIT
#include "page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <utility>
#include <vector>

#include "bus_error.hpp"
#include "exit_code.hpp"
#include "format.hpp"

namespace clockpage::tool {
namespace {

using Word [[gnu::may_alias]] = uint64_t;

// Word by word, each one relaxed atomic: the writer may be at work.
template <class T>
T copy_words(const T& shared) {
  static_assert(sizeof(T) % sizeof(uint64_t) == 0);
  std::array<uint64_t, sizeof(T) / sizeof(uint64_t)> words;
  const auto* from = reinterpret_cast<const Word*>(&shared);
  for (size_t i = 0; i < words.size(); i++) words[i] = CLOCKPAGE_LOAD(from[i]);
  T copy;
  std::memcpy(&copy, words.data(), sizeof copy);
  return copy;
}

clockpage_reader reader_of(const clockpage_region* region, uint8_t format, bool smeared,
                           const std::string& file) {
  const clockpage_data_page* page = clockpage_page_of(region, format, smeared ? 1 : 0);
  clockpage_reader reader = {};
  if (!page)
    throw Failure(file, fmt::format("has no {} {} page",
                                    format == CLOCKPAGE_FORMAT_SCALED ? "scaled" : "unscaled",
                                    smeared ? "smeared" : "unsmeared"));
  if (int error = clockpage_reader_init(&reader, page, CLOCKPAGE_PAGE_SIZE); error)
    throw Failure(file, clockpage_strerror(error));
  return reader;
}

}  // namespace

Page Page::open(const std::string& directory, bool smeared) {
  clockpage_open_options options = {};
  options.flags = CLOCKPAGE_OPEN_HOST_CLOCKS;
  return open(options, directory, smeared);
}

Page Page::open(const std::string& directory, const ViewOptions& view, bool smeared,
                bool host_clocks) {
  if (!names_view(view) && host_clocks) return open(directory, smeared);
  clockpage_open_options options = {};
  options.flags = CLOCKPAGE_OPEN_VIEW;
  std::string path;
  std::vector<std::string> parents;
  if (!view.view.empty()) {
    path = view_path(directory, view.view);
    options.view = path.c_str();
    if (view.parents.size() > std::size(options.parents))
      throw Failure(path, fmt::format("--view-parent is given {} times, more than {}",
                                      view.parents.size(), std::size(options.parents)));
    for (const std::string& parent : view.parents) parents.push_back(view_path(directory, parent));
    for (size_t i = 0; i < parents.size(); i++) options.parents[i] = parents[i].c_str();
  } else if (names_view(view)) {
    path = secure_getenv(CLOCKPAGE_VIEW_VARIABLE);
  }
  Page page = open(options, directory, smeared);
  page.view_file_ = path;
  return page;
}

Page Page::open(clockpage_open_options options, const std::string& directory, bool smeared) {
  options.size = sizeof options;
  options.directory = directory.c_str();
  clockpage_open_error error = {};
  clockpage_region* region = nullptr;
  explain_bus_errors("clockpage", directory + "/" CLOCKPAGE_REGION_FILE);
  if (clockpage_open(&options, &region, &error) != 0) throw Failure("", error.where);

  Page page;
  page.region_.reset(region);
  page.file_ = directory + "/" CLOCKPAGE_REGION_FILE;
  page.sealed_ = clockpage_is_sealed(region) != 0;
  page.directory_ = clockpage_directory_of(region);
  page.view_ = clockpage_view_reader_of(region);
  page.smeared_ = smeared;
  unsigned i = 0;
  for (const uint8_t format :
       {uint8_t{CLOCKPAGE_FORMAT_UNSCALED}, uint8_t{CLOCKPAGE_FORMAT_SCALED}})
    for (const bool is_smeared : {false, true})
      page.readers_[i++] = reader_of(region, format, is_smeared, page.file_);
  if (page.view_) page.smeared_ = page.is_smeared(*page.view_->data.page);
  page.scale_ratio_ = CLOCKPAGE_LOAD(page.scaled().page->scale_ratio);
  page.scale_frac_bits_ = CLOCKPAGE_LOAD(page.scaled().page->scale_frac_bits);
  page.frequency_hz_ = CLOCKPAGE_LOAD(page.unscaled().page->counter_frequency_hz);
  return page;
}

int Page::current_view(clockpage_view_reader& reader) const {
  reader = *view_;
  return clockpage_view_reader_is_current(&reader) ? CLOCKPAGE_OK
                                                   : clockpage_view_reader_refresh(&reader);
}

int Page::at_bounds(int clock, uint64_t counter, clockpage_time& time) const {
  if (!view_) return clockpage_at_bounds(&unscaled(), clock, counter, &time);
  clockpage_view_reader view;
  if (const int error = current_view(view)) return error;
  // As hardware does it: spec section 3.7.
  const uint64_t guest =
      clockpage_scale_counter(counter, view.ratio, static_cast<uint8_t>(view.frac_bits)) +
      view.counter_offset;
  clockpage_view_time through = {};
  const int error = clockpage_view_at_bounds(&view, clock, guest, view.disruption_marker, &through);
  if (!error) time = through.time;
  return error;
}

int64_t Page::ticks_to_ns(int64_t ticks) const {
  const double ns = static_cast<double>(ticks) * 1e9 / static_cast<double>(frequency_hz_);
  return std::llround(std::clamp(ns, -9.2e18, 9.2e18));
}

Smear Page::smear(bool smeared) const {
  const clockpage_data_page& page = *reader(CLOCKPAGE_FORMAT_UNSCALED, smeared).page;
  return {CLOCKPAGE_LOAD(page.smear), CLOCKPAGE_LOAD(page.smear_start_s),
          CLOCKPAGE_LOAD(page.smear_length_s)};
}

NewestSegment Page::newest(bool smeared) const {
  const clockpage_data_page& page = *reader(CLOCKPAGE_FORMAT_UNSCALED, smeared).page;
  NewestSegment newest;
  for (int attempt = 0; attempt < 1000; attempt++) {
    newest.index = clockpage_load_index(&page.index);
    newest.counter = clockpage_counter_ordered();
    newest.segment = copy_words(page.segment[newest.index % CLOCKPAGE_SEGMENT_COUNT]);
    newest.revoked = CLOCKPAGE_LOAD(page.revoked);
    clockpage_fence_before_recheck();
    if (CLOCKPAGE_LOAD(page.index) != newest.index) continue;
    const auto margin = static_cast<int64_t>(newest.segment.lease_end - newest.counter);
    newest.lease_margin_ns = ticks_to_ns(margin);
    return newest;
  }
  throw Failure(file_, clockpage_strerror(CLOCKPAGE_E_BUSY));
}

clockpage_diagnostics Page::diagnostics() const { return copy_words(data().diagnostics); }

std::string Page::source() const {
  const clockpage_diagnostics words = diagnostics();
  std::string name;
  for (uint8_t byte : words.source) {
    if (byte == 0) break;
    name += byte >= 0x21 && byte <= 0x7e ? static_cast<char>(byte) : '?';
  }
  return name;
}

void Page::require_kernel_source(const std::string& why) const {
  const std::string name = source();
  if (name == "sim") throw Failure(file_, "the source is sim, not the kernel's clock: " + why);
}

int require_synchronised(const Page& page, uint8_t status, uint8_t reason, bool overdue) {
  if (status == CLOCKPAGE_STATUS_SYNCHRONISED) return kOk;
  fmt::print(stderr, "clockpage: {}: not synchronised: {}: {}\n", page.file(), status_name(status),
             overdue ? std::string("nothing has been published since the lease ended")
                     : reason_words(reason));
  return kNotSynchronised;
}

}  // namespace clockpage::tool
