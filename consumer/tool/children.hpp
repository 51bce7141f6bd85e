// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace clockpage::tool {

/// Forked processes that never outlive this one: they are killed when it dies, and when this
/// object goes while they run. Not thread-safe; to be used by one thread of the parent.
class Children {
 public:
  Children() = default;
  ~Children();
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  /// Runs `body` in a child, which then ends with 0. The child ignores SIGINT and SIGTERM: how it
  /// ends is the parent's business. Throws Failure if there can be no child.
  void start(const std::function<void()>& body);
  /// Says which child has ended abnormally; empty: none has.
  std::string crashed() const;
  /// Waits for all of them, kills those that take longer than `limit`. As crashed().
  std::string join(std::chrono::milliseconds limit);

 private:
  struct Child {
    pid_t pid;
    mutable bool ended = false;
    mutable int wait_status = 0;
  };
  bool poll(const Child& child) const;  // true: it has ended

  std::vector<Child> children_;
};

}  // namespace clockpage::tool
