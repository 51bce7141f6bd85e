// SPDX-License-Identifier: MIT
// Keeps a region's memory over the death of its writers, and hands it to readers. Spec section 9.
#pragma once

#include <functional>

#include "options.hpp"

namespace clockpage::producer {

// Runs `writer` in a child process, on sealed memory (options.region_fd, else new), and a new one
// when it dies; gives a read-only descriptor of the memory to whoever connects to the socket
// options.directory/region, as soon as there is a region in it. Returns an exit code: once SIGTERM
// or SIGINT has ended the writer, and where no other writer is to follow: it ended of itself with
// code 0, none has ever published, or it revoked the region. Throws RegionError. To be called in a
// process with one thread; `writer` gets the descriptor and returns an exit code.
int keep_region(const Options& options, const std::function<int(int)>& writer);

}  // namespace clockpage::producer
