// SPDX-License-Identifier: MIT
#include "open_options.hpp"

#include <cerrno>
#include <cinttypes>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "open_error.hpp"
#include "timens_offsets.hpp"

namespace clockpage::detail {

namespace {

// Up to there a caller of the first version has filled.
constexpr std::size_t first_size = offsetof(clockpage_open_options, parents);

constexpr std::uint32_t known_flags =
    CLOCKPAGE_OPEN_GUEST | CLOCKPAGE_OPEN_SEALED | CLOCKPAGE_OPEN_VIEW | CLOCKPAGE_OPEN_HOST_CLOCKS;

bool is_size(std::size_t size) {
  return size == first_size || size == sizeof(clockpage_open_options);
}

// Ignored in set-user-id programs: nobody shall feed them another clock.
std::string variable(const char* name) {
  const char* value = secure_getenv(name);
  return value != nullptr ? value : "";
}

int check(const clockpage_open_options& options, clockpage_open_error& error) {
  const auto refuse_argument = [&](const char* reason) {
    return refuse(&error, CLOCKPAGE_E_ARGUMENT, "%s", reason);
  };
  if ((options.flags & ~known_flags) != 0) {
    return refuse(&error, CLOCKPAGE_E_ARGUMENT, "options.flags is 0x%" PRIx32, options.flags);
  }
  if (options.format > CLOCKPAGE_FORMAT_SCALED) {
    return refuse(&error, CLOCKPAGE_E_ARGUMENT, "options.format is %u", unsigned{options.format});
  }
  if (options.directory != nullptr && *options.directory == '\0') {
    return refuse_argument("options.directory is empty");
  }
  if (options.view != nullptr && *options.view == '\0') {
    return refuse_argument("options.view is empty");
  }
  if (options.view == nullptr && options.parents[0] != nullptr) {
    return refuse_argument("options.parents is set without options.view");
  }
  if (options.view != nullptr && (options.flags & CLOCKPAGE_OPEN_HOST_CLOCKS) != 0) {
    return refuse_argument("options.view is set beside CLOCKPAGE_OPEN_HOST_CLOCKS");
  }
  return CLOCKPAGE_OK;
}

int read_parents(const clockpage_open_options& options, open_request& request,
                 clockpage_open_error& error) {
  bool ended = false;
  for (const char* parent : options.parents) {
    if (parent == nullptr) {
      ended = true;
      continue;
    }
    if (ended || *parent == '\0') {
      return refuse(&error, CLOCKPAGE_E_ARGUMENT, "options.parents has an empty entry");
    }
    request.parents.emplace_back(parent);
  }
  return CLOCKPAGE_OK;
}

// $CLOCKPAGE_VIEW and $CLOCKPAGE_VIEW_PARENTS.
int read_environment(open_request& request, clockpage_open_error& error) {
  request.view = variable(CLOCKPAGE_VIEW_VARIABLE);
  request.view_is_environments = !request.view.empty();
  const std::string parents = variable(CLOCKPAGE_VIEW_PARENTS_VARIABLE);
  if (request.view.empty() || parents.empty()) return CLOCKPAGE_OK;
  for (std::string_view rest = parents;;) {
    const std::size_t end = rest.find(':');
    if (rest.empty() || end == 0) {
      return refuse(&error, CLOCKPAGE_E_ARGUMENT,
                    "$" CLOCKPAGE_VIEW_PARENTS_VARIABLE " has an empty entry");
    }
    if (request.parents.size() == CLOCKPAGE_VIEW_MAX_ANCESTORS) {
      return refuse(&error, CLOCKPAGE_E_ARGUMENT,
                    "$" CLOCKPAGE_VIEW_PARENTS_VARIABLE " names more than %d views",
                    CLOCKPAGE_VIEW_MAX_ANCESTORS);
    }
    request.parents.emplace_back(rest.substr(0, end));
    if (end == rest.npos) return CLOCKPAGE_OK;
    rest.remove_prefix(end + 1);
  }
}

}  // namespace

int read_options(const clockpage_open_options* options, open_request& request,
                 clockpage_open_error& error) {
  clockpage_open_options ours{};
  if (options != nullptr) {
    if (!is_size(options->size)) {
      return refuse(&error, CLOCKPAGE_E_ARGUMENT, "options.size is %zu, not %zu or %zu",
                    options->size, sizeof(ours), first_size);
    }
    std::memcpy(&ours, options, options->size);  // the rest, of a later version, stays zero
  }
  int code = check(ours, error);
  if (code != CLOCKPAGE_OK) return code;
  request.flags = ours.flags;
  request.format = ours.format;
  request.smear = ours.smear;
  request.directory =
      ours.directory != nullptr ? ours.directory : variable(CLOCKPAGE_DIRECTORY_VARIABLE);
  if (request.directory.empty()) request.directory = CLOCKPAGE_DEFAULT_DIRECTORY;
  if (ours.view != nullptr) {
    request.view = ours.view;
    return read_parents(ours, request, error);
  }
  return request.has(CLOCKPAGE_OPEN_HOST_CLOCKS) ? CLOCKPAGE_OK : read_environment(request, error);
}

bool names_directory(const clockpage_open_options* options) {
  return options != nullptr && is_size(options->size) && options->directory != nullptr;
}

int refuse_time_namespace(clockpage_open_error& error) {
  const auto own = own_timens_offsets();
  if (const auto* unknown = std::get_if<TimensRefusal>(&own)) {
    return refuse(&error, CLOCKPAGE_E_VIEW,
                  "whether this process's time namespace needs a view cannot be told: %s",
                  unknown->text.c_str());
  }
  if (std::get<TimensOffsets>(own) == TimensOffsets{}) return CLOCKPAGE_OK;
  return refuse(&error, CLOCKPAGE_E_VIEW,
                "this process's time namespace has offsets, so it needs a view of its own "
                "(clockpage timens, $" CLOCKPAGE_VIEW_VARIABLE "): these are the host's clocks");
}

}  // namespace clockpage::detail
