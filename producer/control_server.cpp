// SPDX-License-Identifier: MIT
#include "control_server.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "region.hpp"
#include "view_commands.hpp"

namespace clockpage::producer {

namespace {

namespace fs = std::filesystem;
namespace asio = boost::asio;
using Stream = asio::local::stream_protocol;
using boost::system::error_code;

constexpr auto kPause = std::chrono::milliseconds(100);  // when the kernel has no descriptor left

[[noreturn]] void fail(const fs::path& path, std::string_view reason) {
  throw RegionError(fmt::format("{}: {}", path.string(), reason));
}
[[noreturn]] void fail_errno(const fs::path& path, std::string_view what, int error) {
  fail(path, fmt::format("{}: {}", what, std::strerror(error)));
}

void require_free_name(const fs::path& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) fail_errno(path, "cannot be examined", errno);
    return;
  }
  if (!S_ISSOCK(status.st_mode)) fail(path, "is not a socket: remove it to control views there");
  asio::io_context none;
  Stream::socket socket(none);
  error_code error;
  socket.open(Stream(), error);
  if (!error) socket.non_blocking(true, error);
  if (error) fail(path, error.message());
  socket.connect(Stream::endpoint(path.string()), error);
  // A dead one's is refused; one whose queue is full says "try again", and lives.
  if (error != asio::error::connection_refused) fail(path, "somebody else listens there");
}

}  // namespace

bool may_control(int socket, const ControlAccess& access) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  if (peer.uid == 0 || peer.uid == access.owner) return true;
  if (!access.group) return false;
  if (peer.gid == *access.group) return true;
  std::vector<gid_t> groups(64);
  for (;;) {
    length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) == 0) break;
    // Too many for the room: the kernel says how much it takes.
    if (errno != ERANGE || length <= groups.size() * sizeof(gid_t)) return false;
    groups.resize(length / sizeof(gid_t));
  }
  groups.resize(length / sizeof(gid_t));
  return std::find(groups.begin(), groups.end(), *access.group) != groups.end();
}

// Shared with its connections, which may outlive the server by a moment.
class ControlServer::Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(asio::io_context& context, fs::path path, const ControlAccess& access, Answer answer,
           const ControlLimits& limits)
      : path_(std::move(path)),
        access_(access),
        answer_(std::move(answer)),
        limits_(limits),
        acceptor_(context),
        pause_(context) {}

  void listen();
  void accept();
  void close();

 private:
  class Connection;
  void done(const std::shared_ptr<Connection>& connection);

  fs::path path_;
  ControlAccess access_;
  Answer answer_;
  ControlLimits limits_;
  Stream::acceptor acceptor_;
  asio::steady_timer pause_;
  std::set<std::shared_ptr<Connection>> connections_;
  bool accepting_ = false;
  bool closed_ = false;
  std::size_t unsent_bytes_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

class ControlServer::Listener::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Stream::socket socket, std::shared_ptr<Listener> listener)
      : socket_(std::move(socket)),
        timer_(socket_.get_executor()),
        listener_(std::move(listener)) {}

  void begin();
  void drop();

 private:
  void take(const error_code& error, std::size_t length);
  void give(std::string answer);
  void limit(std::chrono::milliseconds time);

  Stream::socket socket_;
  asio::steady_timer timer_;
  std::shared_ptr<Listener> listener_;
  std::string request_;
  std::string answer_;
  bool late_ = false;
};

// ---- one connection: reads a line, writes a line, closes

void ControlServer::Listener::Connection::limit(std::chrono::milliseconds time) {
  timer_.expires_after(time);
  timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (error) return;
    self->late_ = true;
    error_code ignored;
    self->socket_.cancel(ignored);
  });
}

void ControlServer::Listener::Connection::begin() {
  if (!may_control(socket_.native_handle(), listener_->access_)) {
    give(
        refusal("permission denied: only root, the user that clockpaged runs as, and members of "
                "its --control-group may control views"));
    return;
  }
  limit(listener_->limits_.request_time);
  asio::async_read_until(socket_, asio::dynamic_buffer(request_, listener_->limits_.request_bytes),
                         '\n',
                         [self = shared_from_this()](const error_code& error, std::size_t length) {
                           self->take(error, length);
                         });
}

void ControlServer::Listener::Connection::take(const error_code& error, std::size_t length) {
  const ControlLimits& limits = listener_->limits_;
  if (listener_->closed_) return drop();
  if (late_) {
    give(refusal(fmt::format("no whole line within {} ms", limits.request_time.count())));
  } else if (error == asio::error::not_found) {
    give(refusal(fmt::format("the request is longer than {} bytes", limits.request_bytes)));
  } else if (error == asio::error::eof) {
    give(refusal("the request does not end with a newline"));
  } else if (error) {
    drop();
  } else if (length != request_.size()) {
    give(refusal("there is more than one line"));
  } else {
    give(listener_->answer_(std::string_view(request_).substr(0, length - 1)));
  }
}

void ControlServer::Listener::Connection::give(std::string answer) {
  answer_ = std::move(answer);
  if (answer_.size() > listener_->limits_.unsent_bytes - listener_->unsent_bytes_)
    answer_ = refusal("too many answers are waiting to be read: try again");
  answer_ += '\n';
  listener_->unsent_bytes_ +=
      std::min(answer_.size(), listener_->limits_.unsent_bytes - listener_->unsent_bytes_);
  late_ = false;
  limit(listener_->limits_.answer_time);
  asio::async_write(socket_, asio::buffer(answer_),
                    [self = shared_from_this()](const error_code&, std::size_t) { self->drop(); });
}

void ControlServer::Listener::Connection::drop() {
  timer_.cancel();
  error_code ignored;
  socket_.close(ignored);
  listener_->unsent_bytes_ -= std::min(answer_.size(), listener_->unsent_bytes_);
  answer_.clear();
  listener_->done(shared_from_this());
}

// ---- the socket

void ControlServer::Listener::listen() {
  const fs::path temporary = path_.parent_path() / (".control.new");
  require_free_name(path_);
  unlink(temporary.c_str());
  error_code error;
  try {
    acceptor_.open(Stream());
    acceptor_.bind(Stream::endpoint(temporary.string()));
  } catch (const boost::system::system_error& e) {
    fail(path_, fmt::format("cannot be made a socket: {}", e.code().message()));
  }
  // Nobody can connect before it listens, so nobody does before these hold.
  struct stat status {};
  const bool ready =
      (!access_.group || chown(temporary.c_str(), static_cast<uid_t>(-1), *access_.group) == 0) &&
      chmod(temporary.c_str(), access_.group ? 0660 : 0600) == 0 &&
      ::listen(acceptor_.native_handle(), SOMAXCONN) == 0 &&
      lstat(temporary.c_str(), &status) == 0 && rename(temporary.c_str(), path_.c_str()) == 0;
  if (!ready) {
    const int reason = errno;
    unlink(temporary.c_str());
    fail_errno(path_, "cannot be made a socket", reason);
  }
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

void ControlServer::Listener::accept() {
  if (closed_ || accepting_ || connections_.size() >= limits_.connections) return;
  accepting_ = true;
  acceptor_.async_accept([self = shared_from_this()](const error_code& error, Stream::socket peer) {
    self->accepting_ = false;
    if (self->closed_) return;
    if (error && error != asio::error::connection_aborted) {
      // Short of descriptors, for instance: who waits goes on waiting, and we must not spin.
      self->pause_.expires_after(kPause);
      self->pause_.async_wait([self](const error_code&) { self->accept(); });
      return;
    }
    if (!error) {
      auto connection = std::make_shared<Connection>(std::move(peer), self);
      self->connections_.insert(connection);
      connection->begin();
    }
    self->accept();
  });
}

void ControlServer::Listener::done(const std::shared_ptr<Connection>& connection) {
  connections_.erase(connection);
  accept();
}

void ControlServer::Listener::close() {
  closed_ = true;
  struct stat status {};
  if (inode_ != 0 && lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
      status.st_ino == inode_)
    unlink(path_.c_str());
  error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
  while (!connections_.empty()) (*connections_.begin())->drop();
}

ControlServer::ControlServer(asio::io_context& context, const fs::path& path,
                             const ControlAccess& access, Answer answer,
                             const ControlLimits& limits)
    : listener_(std::make_shared<Listener>(context, path, access, std::move(answer), limits)) {
  listener_->listen();
  listener_->accept();
}

ControlServer::~ControlServer() { listener_->close(); }

}  // namespace clockpage::producer
