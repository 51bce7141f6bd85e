// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>

namespace clockpage::tool {

/// What `clockpage` tells its caller. Constant over versions: scripts depend on it.
enum ExitCode : int {
  kOk = 0,
  kFailed = 1,           ///< a runtime error, or a check that did not hold
  kUsage = 2,            ///< the command line is wrong
  kNotSynchronised = 3,  ///< only with --require-sync
};

/// A run that cannot go on. Printed by main as one line: `clockpage: FILE: reason`.
class Failure : public std::runtime_error {
 public:
  /// `file` names what the failure is about; empty when there is no such file.
  Failure(const std::string& file, const std::string& reason)
      : std::runtime_error(file.empty() ? reason : file + ": " + reason) {}
};

}  // namespace clockpage::tool
