// SPDX-License-Identifier: MIT
// The control socket: one line in, one line out, and nobody who connects is trusted with more than
// his own time. Spec section 9.2.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace clockpage::producer {

struct ControlLimits {
  std::size_t connections = 64;  // at once; who else connects waits in the kernel's queue
  std::size_t request_bytes = 16384;
  std::chrono::milliseconds request_time{2000};  // to send a line
  std::chrono::milliseconds answer_time{5000};   // to take one
  std::size_t unsent_bytes = 64 << 20;           // of all answers that are not taken yet
};

// Who may ask: root, the user that the server runs as, and this group's members.
struct ControlAccess {
  uid_t owner = 0;
  std::optional<gid_t> group;
};

// Whether the process that connected this socket may: by its credentials at that moment
// (SO_PEERCRED, SO_PEERGROUPS of unix(7) and socket(7)).
bool may_control(int socket, const ControlAccess& access);

class ControlServer {
 public:
  using Answer = std::function<std::string(std::string_view)>;  // without newlines; does not throw
  // Listens under a temporary name, then takes `path`: of nothing, or of a socket that nobody
  // listens at. Mode 0600, or 0660 and the group's. Throws RegionError.
  ControlServer(boost::asio::io_context& context, const std::filesystem::path& path,
                const ControlAccess& access, Answer answer, const ControlLimits& limits = {});
  // Removes the name if it is still this socket's. Connections are dropped.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  class Listener;
  std::shared_ptr<Listener> listener_;
};

}  // namespace clockpage::producer
