// SPDX-License-Identifier: MIT
#include "open_error.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace clockpage::detail {

int refuse(clockpage_open_error* error, int code, const char* format, ...) noexcept {
  if (error == nullptr) return code;
  error->code = code;
  error->saved_errno = 0;
  std::va_list arguments;
  va_start(arguments, format);
  // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang 14 does not see va_start
  std::vsnprintf(error->where, sizeof(error->where), format, arguments);
  va_end(arguments);
  return code;
}

int refuse_system(clockpage_open_error* error, const char* what, int saved_errno) noexcept {
  char buffer[128] = "";
  refuse(error, CLOCKPAGE_E_SYSTEM, "%s: %s", what,
         strerror_r(saved_errno, buffer, sizeof(buffer)));
  if (error != nullptr) error->saved_errno = saved_errno;
  return CLOCKPAGE_E_SYSTEM;
}

void name_file(clockpage_open_error& error, const char* path) noexcept {
  constexpr std::size_t longest_reason = 192;
  constexpr std::size_t longest_path = sizeof(error.where) - longest_reason - sizeof("...: ");
  char reason[longest_reason];
  std::snprintf(reason, sizeof(reason), "%.*s", static_cast<int>(longest_reason - 1), error.where);
  const std::size_t length = std::strlen(path);
  const bool trimmed = length > longest_path;
  std::snprintf(error.where, sizeof(error.where), "%s%s: %s", trimmed ? "..." : "",
                trimmed ? path + (length - longest_path) : path, reason);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  std::replace_if(error.where, error.where + std::strlen(error.where), is_control, '?');
}

int accept(clockpage_open_error* error) noexcept {
  if (error != nullptr) *error = {};
  return CLOCKPAGE_OK;
}

}  // namespace clockpage::detail
