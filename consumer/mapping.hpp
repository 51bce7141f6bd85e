// SPDX-License-Identifier: MIT
//
// Inside libclockpage: open files, checked and mapped.
#ifndef CLOCKPAGE_MAPPING_HPP
#define CLOCKPAGE_MAPPING_HPP

#include <clockpage/clockpage.h>

#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>

namespace clockpage::detail {

// Maps an open regular file of exactly `size` bytes read-only. must_be_sealed: only if nobody can
// shrink it. Returns 0 or CLOCKPAGE_E_{UNSEALED,SYSTEM,MAGIC,SIZE}.
int map_descriptor(int file, std::size_t size, bool must_be_sealed,
                   boost::interprocess::mapped_region& mapping, clockpage_open_error& error);

}  // namespace clockpage::detail

#endif  // CLOCKPAGE_MAPPING_HPP
