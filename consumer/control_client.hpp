// SPDX-License-Identifier: MIT
//
// For programs, not for libclockpage: asking clockpaged about views. Section 9.2 of the spec.
#ifndef CLOCKPAGE_CONTROL_CLIENT_HPP
#define CLOCKPAGE_CONTROL_CLIENT_HPP

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace clockpage {

// One line: what could not be asked, or what clockpaged answered instead.
struct ControlError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The longest that an answer may take, and be.
inline constexpr int kControlLimitMs = 10'000;
inline constexpr std::size_t kMostAnswerBytes = 64 << 20;

// Sends `request` (without "version", which is added) to the daemon of the region in `directory`
// and returns its answer, an object whose "ok" is true. Throws ControlError: where the daemon says
// no, with its own line. Does not write to the terminal, nor change signals.
nlohmann::json ask(const std::string& directory, nlohmann::json request);

}  // namespace clockpage

#endif  // CLOCKPAGE_CONTROL_CLIENT_HPP
