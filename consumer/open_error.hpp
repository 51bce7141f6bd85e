// SPDX-License-Identifier: MIT
//
// Inside libclockpage: what opening and validating share.
#ifndef CLOCKPAGE_OPEN_ERROR_HPP
#define CLOCKPAGE_OPEN_ERROR_HPP

#include <clockpage/clockpage.h>

#include <cstddef>

namespace clockpage::detail {

// Fills *error (which may be null): code, errno 0 and the reason in printf's manner. Returns
// code.
[[gnu::format(printf, 3, 4)]] int refuse(clockpage_open_error* error, int code, const char* format,
                                         ...) noexcept;

// As refuse, with CLOCKPAGE_E_SYSTEM: "what: text of saved_errno".
int refuse_system(clockpage_open_error* error, const char* what, int saved_errno) noexcept;

// Puts "path: " before the reason, keeps a long path's end and leaves no control character.
void name_file(clockpage_open_error& error, const char* path) noexcept;

// Code 0 and an empty line. Returns 0.
int accept(clockpage_open_error* error) noexcept;

// As clockpage_validate_region; fills *directory with a copy of the directory page, so that
// what was checked is what is used, whatever happens to the file.
int read_directory(const void* bytes, std::size_t length, clockpage_directory_page& directory,
                   clockpage_open_error* error) noexcept;

// As clockpage_validate_view; fills *slot with a consistent copy of the newest slot.
int read_view(const void* bytes, std::size_t length, const clockpage_directory_page* directory,
              clockpage_view_slot& slot, clockpage_open_error* error) noexcept;

// The entry for a format and a smear (0 or not), or null.
const clockpage_data_page_entry* find_entry(const clockpage_directory_page& directory,
                                            unsigned format, unsigned smear) noexcept;

}  // namespace clockpage::detail

#endif  // CLOCKPAGE_OPEN_ERROR_HPP
