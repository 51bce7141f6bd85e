// SPDX-License-Identifier: MIT
#include "preload_environment.hpp"

#include <clockpage/clockpage.h>
#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "preload/preload.h"

namespace clockpage {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& why) {
  throw std::runtime_error(what + ": " + why);
}

void set_variable(const char* name, const std::string& value) {
  if (setenv(name, value.c_str(), 1) != 0) refuse(name, std::strerror(errno));
}

void set_flag(const char* name, bool value) {
  if (value)
    set_variable(name, "1");
  else
    unsetenv(name);
}

}  // namespace

void set_region_environment(const std::string& directory) {
  set_variable(CLOCKPAGE_DIRECTORY_VARIABLE, std::filesystem::absolute(directory));
}

void set_view_environment(const std::string& view, const std::vector<std::string>& parents) {
  std::string joined;
  for (const std::string& parent : parents) {
    const std::string path = std::filesystem::absolute(parent);
    if (path.find(':') != path.npos)
      refuse(path,
             std::string(CLOCKPAGE_VIEW_PARENTS_VARIABLE) + " cannot name a path with a colon");
    joined += (joined.empty() ? "" : ":") + path;
  }
  set_variable(CLOCKPAGE_VIEW_VARIABLE, std::filesystem::absolute(view));
  if (joined.empty())
    unsetenv(CLOCKPAGE_VIEW_PARENTS_VARIABLE);
  else
    set_variable(CLOCKPAGE_VIEW_PARENTS_VARIABLE, joined);
}

std::string preload_library() {
  // Or the linker leaves the library out of a program that uses nothing else of it. Its address
  // may be the program's own, though (a PLT entry).
  [[maybe_unused]] auto* const volatile linked = &clockpage_open;
  Dl_info info{};
  void* symbol = dlsym(RTLD_DEFAULT, "clockpage_open");
  if (symbol == nullptr || dladdr(symbol, &info) == 0)
    throw std::runtime_error("cannot tell where libclockpage is");
  std::error_code error;
  auto path = std::filesystem::canonical(info.dli_fname, error).parent_path();
  path /= "libclockpage-preload.so";
  if (access(path.c_str(), R_OK) != 0) refuse(path, std::strerror(errno));
  if (path.native().find_first_of(" :") != std::string::npos)
    refuse(path, "LD_PRELOAD cannot name a library with a space or a colon in its path");
  return path;
}

void set_preload_environment(const std::string& library, const PreloadOptions& options) {
  set_flag(CLOCKPAGE_PRELOAD_SMEARED, options.smeared);
  set_flag(CLOCKPAGE_PRELOAD_SEALED, options.sealed);
  set_flag(CLOCKPAGE_PRELOAD_QUIET, options.quiet);
  set_flag(CLOCKPAGE_PRELOAD_GUEST, options.guest);
  const char* others = std::getenv("LD_PRELOAD");
  const std::string there = others != nullptr ? others : "";
  if (there == library || there.starts_with(library + ":")) return;
  set_variable("LD_PRELOAD", there.empty() ? library : library + ":" + there);
}

}  // namespace clockpage
