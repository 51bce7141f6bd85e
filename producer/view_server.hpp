// SPDX-License-Identifier: MIT
// The process that serves views: a child of the one that publishes, so that nothing anybody asks
// for can make publishing late. Spec section 9.2.
#pragma once

#include <sys/types.h>

#include "options.hpp"

namespace clockpage::producer {

// Lives in the publishing process, which holds the directory's lock: whoever holds that has the
// only server. It consists of two processes: one that waits and restarts, and below it the server.
// Both have ordinary priority, a read-only view of the region and no other descriptor, and end with
// the process above them, however that ends.
class ViewServer {
 public:
  // Forks; to be called by a process with one thread before it becomes real-time, with no writable
  // mapping that is to be inherited. Without options.control it serves no socket, and is there only
  // if there are views to follow. Says so
  // where none can be started: that is no reason not to publish.
  explicit ViewServer(const Options& options);
  // Ends it, and waits until it has.
  ~ViewServer();
  ViewServer(const ViewServer&) = delete;
  ViewServer& operator=(const ViewServer&) = delete;

  // Says so, once, if it has ended for good. One system call.
  void look() noexcept;

 private:
  const Options& options_;
  pid_t pid_ = 0;
};

}  // namespace clockpage::producer
