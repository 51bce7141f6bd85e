// SPDX-License-Identifier: MIT
#include "control_client.hpp"

#include <clockpage/clockpage.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>

namespace clockpage {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// One conversation: a line there, a line back.
class Conversation {
 public:
  explicit Conversation(std::string path);
  ~Conversation() {
    if (socket_ >= 0) close(socket_);
  }
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  void send(std::string_view line);
  std::string receive();

  [[noreturn]] void fail(const std::string& reason) const {
    throw ControlError(path_ + ": " + reason);
  }

 private:
  [[noreturn]] void fail_errno(int reason) const {
    const bool nobody = reason == ENOENT || reason == ECONNREFUSED;
    fail(std::strerror(reason) + std::string(nobody ? ": is clockpaged running?" : ""));
  }
  void wait_for(short events);

  std::string path_;
  Clock::time_point end_ = Clock::now() + std::chrono::milliseconds(kControlLimitMs);
  int socket_ = -1;
};

Conversation::Conversation(std::string path) : path_(std::move(path)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.size() >= sizeof address.sun_path) fail_errno(ENAMETOOLONG);
  std::memcpy(address.sun_path, path_.data(), path_.size());
  socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_ < 0) fail_errno(errno);
  // A queue that is full cannot be waited for.
  while (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno != EAGAIN && errno != EINTR) fail_errno(errno);
    if (Clock::now() >= end_) fail_errno(ETIMEDOUT);
    std::this_thread::sleep_for(5ms);
  }
}

void Conversation::wait_for(short events) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - Clock::now()).count();
    if (left <= 0) fail("no answer within " + std::to_string(kControlLimitMs / 1000) + " s");
    pollfd waiting{socket_, events, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(left));
    if (ready > 0) return;
    if (ready < 0 && errno != EINTR) fail_errno(errno);
  }
}

void Conversation::send(std::string_view line) {
  while (!line.empty()) {
    const ssize_t sent = ::send(socket_, line.data(), line.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      line.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return;  // it has answered already, and will say why
    } else if (errno == EAGAIN) {
      wait_for(POLLOUT);
    } else if (errno != EINTR) {
      fail_errno(errno);
    }
  }
}

std::string Conversation::receive() {
  std::string answer;
  char part[65536];
  for (;;) {
    const ssize_t got = recv(socket_, part, sizeof part, 0);
    if (got > 0) {
      answer.append(part, static_cast<std::size_t>(got));
      if (answer.back() == '\n') break;
      if (answer.size() > kMostAnswerBytes) fail("the answer is too long");
    } else if (got == 0 || errno == ECONNRESET) {
      fail(answer.empty() ? "no answer" : "the answer is cut off");
    } else if (errno == EAGAIN) {
      wait_for(POLLIN);
    } else if (errno != EINTR) {
      fail_errno(errno);
    }
  }
  answer.pop_back();
  return answer;
}

// What goes to somebody's terminal.
std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text.substr(0, 4096);
}

}  // namespace

Json ask(const std::string& directory, Json request) {
  request["version"] = 1;
  Conversation daemon(directory + "/" CLOCKPAGE_CONTROL_SOCKET);
  std::string line;
  try {
    line = request.dump() + "\n";
  } catch (const Json::exception&) {
    daemon.fail("the request is not UTF-8");
  }
  daemon.send(line);
  const Json answer = Json::parse(daemon.receive(), nullptr, false);
  if (!answer.is_object()) daemon.fail("the answer is not a JSON object");
  const auto ok = answer.find("ok");
  if (ok == answer.end() || !ok->is_boolean()) daemon.fail("the answer does not say \"ok\"");
  if (*ok) return answer;
  const auto error = answer.find("error");
  if (error == answer.end() || !error->is_string()) daemon.fail("refused without a reason");
  throw ControlError(printable(error->get<std::string>()));
}

}  // namespace clockpage
