// SPDX-License-Identifier: MIT
#include "handover.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "open_error.hpp"

namespace clockpage::detail {
namespace {

std::int64_t now_ms() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// Connects without ever sleeping in connect(2): a queue that its owner does not serve is full for
// good, and a signal would begin the kernel's own time limit anew.
int connect_to(const char* path, int socket, std::int64_t end_ms,
               clockpage_open_error& error) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof(address.sun_path)) return refuse_system(&error, "connect", ENAMETOOLONG);
  std::memcpy(address.sun_path, path, length);
  while (connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno != EAGAIN && errno != EINTR) return refuse_system(&error, "connect", errno);
    if (now_ms() >= end_ms) return refuse_system(&error, "connect", ETIMEDOUT);
    const timespec pause{0, 5'000'000};
    nanosleep(&pause, nullptr);
  }
  return CLOCKPAGE_OK;
}

int await_answer(int socket, std::int64_t end_ms, clockpage_open_error& error) noexcept {
  for (;;) {
    pollfd waiting{socket, POLLIN, 0};
    const std::int64_t left = std::max<std::int64_t>(end_ms - now_ms(), 0);
    const int ready = poll(&waiting, 1, static_cast<int>(left));
    if (ready > 0) return CLOCKPAGE_OK;
    if (ready < 0 && errno != EINTR) return refuse_system(&error, "poll", errno);
    if (now_ms() >= end_ms) return refuse_system(&error, "no answer", ETIMEDOUT);
  }
}

// What came with a message. The buffer has room for more than one descriptor, whatever its size
// is said to be (padding): all are taken into account, or they would stay open.
struct answer {
  clockpage_handover words{};
  std::size_t length = 0;
  descriptor received;
  int descriptors = 0;

  void take(const msghdr& message) noexcept;
};

void answer::take(const msghdr& message) noexcept {
  auto* header = const_cast<msghdr*>(&message);
  for (cmsghdr* part = CMSG_FIRSTHDR(header); part != nullptr; part = CMSG_NXTHDR(header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; i++) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(part) + i * sizeof(int), sizeof(number));
      received = descriptor(number);
      descriptors++;
    }
  }
  // Whatever else there was no room for.
  if ((message.msg_flags & MSG_CTRUNC) != 0) descriptors++;
}

// The most that one message can carry (SCM_MAX_FD in the kernel's include/net/scm.h): none is left
// to the kernel to close for want of room, which not every emulator of it does.
constexpr std::size_t kMostDescriptors = 253;

int receive(int socket, answer& got, clockpage_open_error& error) noexcept {
  iovec words{&got.words, sizeof(got.words)};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostDescriptors * sizeof(int))];
  msghdr message{};
  message.msg_iov = &words;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length < 0) return refuse_system(&error, "recvmsg", errno);
  got.take(message);
  got.length = static_cast<std::size_t>(length);
  return CLOCKPAGE_OK;
}

int check(const answer& got, clockpage_open_error& error) noexcept {
  if (got.length == 0) return refuse_system(&error, "no answer", ECONNRESET);
  // A later version may say more: what is beyond this one's words is cut off by recvmsg.
  if (got.length < sizeof(got.words) ||
      std::memcmp(got.words.magic, CLOCKPAGE_HANDOVER_MAGIC, sizeof(got.words.magic)) != 0) {
    return refuse(&error, CLOCKPAGE_E_MAGIC,
                  "the socket's answer is not " CLOCKPAGE_HANDOVER_MAGIC);
  }
  if (got.words.version != CLOCKPAGE_HANDOVER_VERSION) {
    return refuse(&error, CLOCKPAGE_E_VERSION, "the socket's answer is of version %u, not %d",
                  got.words.version, CLOCKPAGE_HANDOVER_VERSION);
  }
  if (got.words.region_size != CLOCKPAGE_REGION_SIZE) {
    return refuse(&error, CLOCKPAGE_E_SIZE, "the socket offers %u bytes, not %d",
                  got.words.region_size, CLOCKPAGE_REGION_SIZE);
  }
  if (got.descriptors != 1) {
    return refuse(&error, CLOCKPAGE_E_MAGIC, "the socket's answer has %s descriptor",
                  got.descriptors == 0 ? "no" : "more than one");
  }
  return CLOCKPAGE_OK;
}

}  // namespace

bool is_sealed(int file) noexcept {
  const int seals = fcntl(file, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

int receive_descriptor(const char* path, descriptor& received,
                       clockpage_open_error& error) noexcept {
  const std::int64_t end_ms = now_ms() + CLOCKPAGE_HANDOVER_LIMIT_MS;
  const descriptor connection(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connection.get() < 0) return refuse_system(&error, "socket", errno);
  int code = connect_to(path, connection.get(), end_ms, error);
  if (code == CLOCKPAGE_OK) code = await_answer(connection.get(), end_ms, error);
  answer got;
  if (code == CLOCKPAGE_OK) code = receive(connection.get(), got, error);
  if (code == CLOCKPAGE_OK) code = check(got, error);
  if (code == CLOCKPAGE_OK) received = std::move(got.received);
  return code;
}

}  // namespace clockpage::detail
