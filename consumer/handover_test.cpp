// SPDX-License-Identifier: MIT
//
// Regions that come as a descriptor: the caller's own, or over a socket whose owner is hostile.
#include "handover.hpp"

#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <clockpage/clockpage.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "test_pages.hpp"

namespace clockpage::test {
namespace {

namespace fs = std::filesystem;
using detail::descriptor;

constexpr int all_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

struct closer {
  void operator()(clockpage_region* region) const { clockpage_close(region); }
};
using region_handle = std::unique_ptr<clockpage_region, closer>;

descriptor memory_of(std::span<const std::byte> bytes, int seals = all_seals) {
  descriptor memory(memfd_create("handed-over", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(write(memory.get(), bytes.data(), bytes.size()), std::ssize(bytes));
  EXPECT_EQ(fcntl(memory.get(), F_ADD_SEALS, seals), 0) << std::strerror(errno);
  return memory;
}

clockpage_handover good_words() {
  clockpage_handover words{};
  std::memcpy(words.magic, CLOCKPAGE_HANDOVER_MAGIC, sizeof(words.magic));
  words.version = CLOCKPAGE_HANDOVER_VERSION;
  words.region_size = CLOCKPAGE_REGION_SIZE;
  return words;
}

// One packet of any bytes with any descriptors.
void send_packet(int peer, const std::string& bytes, const std::vector<int>& descriptors) {
  std::string copy = bytes;
  iovec part{copy.data(), copy.size()};
  std::vector<char> control(CMSG_SPACE(descriptors.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
  }
  EXPECT_GE(sendmsg(peer, &message, MSG_NOSIGNAL), 0) << std::strerror(errno);
}

std::string bytes_of(const clockpage_handover& words) {
  return {reinterpret_cast<const char*>(&words), sizeof(words)};
}

descriptor listening_at(const std::string& path, int type = SOCK_SEQPACKET, int backlog = 8) {
  descriptor listener(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(listen(listener.get(), backlog), 0);
  return listener;
}

// Does something to everyone who connects to a path, until it goes.
class server {
 public:
  server(const std::string& path, std::function<void(int)> treat)
      : listener_(listening_at(path)), treat_(std::move(treat)), thread_([this] { run(); }) {}
  ~server() {
    shutdown(listener_.get(), SHUT_RDWR);  // accept ends
    thread_.join();
  }

 private:
  void run() {
    for (;;) {
      const descriptor peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (peer.get() < 0) return;
      treat_(peer.get());
    }
  }
  descriptor listener_;
  std::function<void(int)> treat_;
  std::thread thread_;
};

std::ptrdiff_t open_descriptors() {
  return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
}

// The server's own connection may be open for a moment more; what has leaked stays.
bool falls_to(std::ptrdiff_t count) {
  for (int i = 0; i < 2000 && open_descriptors() > count; i++)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return open_descriptors() <= count;
}

bool memory_is_mapped() {
  std::ifstream maps("/proc/self/maps");
  return std::string(std::istreambuf_iterator<char>(maps), {}).find("handed-over") !=
         std::string::npos;
}

class HandoverTest : public testing::Test {
 protected:
  HandoverTest() : path_(directory_.path().string()), socket_(path_ + "/" CLOCKPAGE_REGION_FILE) {
    options_.size = sizeof(options_);
  }

  region_handle open() {
    options_.directory = path_.c_str();
    clockpage_region* region = nullptr;
    code_ = clockpage_open(&options_, &region, &error_);
    EXPECT_EQ(error_.code, code_);
    return region_handle(region);
  }
  region_handle open_fd(int fd) {
    clockpage_region* region = nullptr;
    code_ = clockpage_open_fd(fd, &options_, &region, &error_);
    EXPECT_EQ(error_.code, code_);
    return region_handle(region);
  }
  void expect_refusal(int code, const std::string& reason) {
    const auto before = open_descriptors();
    EXPECT_FALSE(open());
    EXPECT_EQ(code_, code);
    EXPECT_EQ(std::string(error_.where), socket_ + ": " + reason);
    EXPECT_TRUE(falls_to(before)) << reason;
    EXPECT_FALSE(memory_is_mapped()) << reason;
  }
  // What a peer that answers with this packet comes to.
  void expect_answer_refused(const std::string& bytes, const std::vector<int>& descriptors,
                             int code, const std::string& reason) {
    {
      const server peer(socket_, [&](int to) { send_packet(to, bytes, descriptors); });
      expect_refusal(code, reason);
    }
    fs::remove(socket_);
  }

  temporary_directory directory_;
  std::string path_;
  std::string socket_;
  region_image image_{live_plan()};
  clockpage_open_options options_{};
  clockpage_open_error error_{};
  int code_ = 0;
};

// ---- over a socket ---------------------------------------------------------------------

TEST_F(HandoverTest, ReadsMemoryThatOutlivesTheProcessBehindTheSocket) {
  const auto before = open_descriptors();
  region_handle region;
  {
    const descriptor memory = memory_of(image_.bytes());
    const server peer(socket_,
                      [&](int to) { send_packet(to, bytes_of(good_words()), {memory.get()}); });
    region = open();
    ASSERT_TRUE(region) << error_.where;
  }
  fs::remove(socket_);
  EXPECT_TRUE(falls_to(before));
  EXPECT_EQ(clockpage_is_sealed(region.get()), 1);
  std::int64_t ns = 0;
  EXPECT_EQ(clockpage_read_ns(region.get(), CLOCKPAGE_REALTIME, &ns), CLOCKPAGE_OK);
  EXPECT_GT(ns, 1'700'000'000'000'000'000);
  region.reset();
  EXPECT_FALSE(memory_is_mapped());
}

TEST_F(HandoverTest, TakesALaterVersionsLongerWords) {
  const descriptor memory = memory_of(image_.bytes());
  const server peer(socket_, [&](int to) {
    send_packet(to, bytes_of(good_words()) + std::string(40, 'x'), {memory.get()});
  });
  EXPECT_TRUE(open()) << error_.where;
}

TEST_F(HandoverTest, RefusesWordsThatAreNotTheProtocols) {
  const descriptor memory = memory_of(image_.bytes());
  const std::string good = bytes_of(good_words());
  const std::string not_ours = "the socket's answer is not CLKPGFDS";
  expect_answer_refused(std::string(16, '\xff'), {memory.get()}, CLOCKPAGE_E_MAGIC, not_ours);
  expect_answer_refused(good.substr(0, 15), {memory.get()}, CLOCKPAGE_E_MAGIC, not_ours);
  expect_answer_refused("", {memory.get()}, CLOCKPAGE_E_SYSTEM,
                        "no answer: Connection reset by peer");
  expect_answer_refused(std::string(100'000, 'x'), {}, CLOCKPAGE_E_MAGIC, not_ours);
  clockpage_handover words = good_words();
  words.version = 2;
  expect_answer_refused(bytes_of(words), {memory.get()}, CLOCKPAGE_E_VERSION,
                        "the socket's answer is of version 2, not 1");
  words = good_words();
  words.region_size = 4096;
  expect_answer_refused(bytes_of(words), {memory.get()}, CLOCKPAGE_E_SIZE,
                        "the socket offers 4096 bytes, not 32768");
}

TEST_F(HandoverTest, RefusesAnyOtherNumberOfDescriptorsAndKeepsNone) {
  const descriptor memory = memory_of(image_.bytes());
  const std::string good = bytes_of(good_words());
  expect_answer_refused(good, {}, CLOCKPAGE_E_MAGIC, "the socket's answer has no descriptor");
  // Two still fit in the padding of a control message for one.
  for (const std::size_t count : {2u, 3u, 250u}) {
    expect_answer_refused(good, std::vector<int>(count, memory.get()), CLOCKPAGE_E_MAGIC,
                          "the socket's answer has more than one descriptor");
  }
}

TEST_F(HandoverTest, RefusesMemoryThatItsOwnerCouldTruncate) {
  const std::string good = bytes_of(good_words());
  for (const int seals : {0, F_SEAL_GROW, F_SEAL_GROW | F_SEAL_SEAL}) {
    const descriptor memory = memory_of(image_.bytes(), seals);
    expect_answer_refused(good, {memory.get()}, CLOCKPAGE_E_UNSEALED,
                          "not sealed against being truncated");
  }
  const fs::path file = directory_.write("file", image_.bytes());
  const descriptor plain(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  expect_answer_refused(good, {plain.get()}, CLOCKPAGE_E_UNSEALED,
                        "not sealed against being truncated");
}

TEST_F(HandoverTest, RefusesDescriptorsOfWhateverElse) {
  const std::string good = bytes_of(good_words());
  const std::string fifo = path_ + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const std::string unsealed = "not sealed against being truncated";
  for (const char* name : {"/fifo", "", "/../../dev/null"}) {
    const descriptor other(::open((path_ + name).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (other.get() < 0) continue;
    expect_answer_refused(good, {other.get()}, CLOCKPAGE_E_UNSEALED, unsealed);
  }
  const descriptor in_name_only(::open(path_.c_str(), O_PATH | O_CLOEXEC));
  expect_answer_refused(good, {in_name_only.get()}, CLOCKPAGE_E_UNSEALED, unsealed);
  const descriptor a_socket(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  expect_answer_refused(good, {a_socket.get()}, CLOCKPAGE_E_UNSEALED, unsealed);
}

TEST_F(HandoverTest, RefusesSealedMemoryThatIsNoRegion) {
  const std::string good = bytes_of(good_words());
  const descriptor small = memory_of(image_.bytes().first(20480));
  expect_answer_refused(good, {small.get()}, CLOCKPAGE_E_SIZE, "size is 20480 bytes, not 32768");
  const descriptor zeros = memory_of(std::vector<std::byte>(CLOCKPAGE_REGION_SIZE));
  expect_answer_refused(good, {zeros.get()}, CLOCKPAGE_E_MAGIC, "magic is not CLKPGDIR");
  const descriptor memory = memory_of(image_.bytes());
  const std::string again = "/proc/self/fd/" + std::to_string(memory.get());
  const descriptor writable(::open(again.c_str(), O_WRONLY | O_CLOEXEC));
  expect_answer_refused(good, {writable.get()}, CLOCKPAGE_E_SYSTEM, "mmap: Permission denied");
  image_.directory().boot_id[0] ^= 1;
  const descriptor stale = memory_of(image_.bytes());
  expect_answer_refused(good, {stale.get()}, CLOCKPAGE_E_STALE,
                        "boot_id is not that of this boot of this machine");
}

TEST_F(HandoverTest, NamesASocketThatNobodyServes) {
  { const descriptor gone = listening_at(socket_); }
  expect_refusal(CLOCKPAGE_E_SYSTEM, "connect: Connection refused");
  EXPECT_EQ(error_.saved_errno, ECONNREFUSED);
  fs::remove(socket_);
  {
    const server peer(socket_, [](int) {});  // closes at once
    expect_refusal(CLOCKPAGE_E_SYSTEM, "no answer: Connection reset by peer");
    EXPECT_EQ(error_.saved_errno, ECONNRESET);
  }
  fs::remove(socket_);
  const descriptor stream = listening_at(socket_, SOCK_STREAM);
  expect_refusal(CLOCKPAGE_E_SYSTEM, "connect: Protocol wrong type for socket");
}

TEST_F(HandoverTest, NamesAPathThatIsTooLongForASocket) {
  std::string deep;
  for (int i = 0; i < 3; i++) deep += "/" + std::string(60, 'd');
  fs::create_directories(path_ + deep);
  const descriptor listener = listening_at(socket_);
  fs::rename(socket_, path_ + deep + "/region");
  path_ += deep;
  socket_ = path_ + "/region";
  expect_refusal(CLOCKPAGE_E_SYSTEM, "connect: File name too long");
}

// Runs an opening that is to end by its own time limit, whether signals come meanwhile or not.
class SilentPeerTest : public HandoverTest {
 protected:
  void expect_timeout(const std::string& reason) {
    expect_timeout(reason, false);
    expect_timeout(reason, true);
  }
  void expect_timeout(const std::string& reason, bool signals) {
    struct sigaction ignore {};
    struct sigaction before {};
    ignore.sa_handler = [](int) {};
    ASSERT_EQ(sigaction(SIGALRM, &ignore, &before), 0);
    const itimerval storm{{0, 5000}, {0, signals ? 5000 : 0}};
    ASSERT_EQ(setitimer(ITIMER_REAL, &storm, nullptr), 0);
    const auto begin = std::chrono::steady_clock::now();
    expect_refusal(CLOCKPAGE_E_SYSTEM, reason);
    const auto took = std::chrono::steady_clock::now() - begin;
    const itimerval none{};
    setitimer(ITIMER_REAL, &none, nullptr);
    sigaction(SIGALRM, &before, nullptr);
    EXPECT_EQ(error_.saved_errno, ETIMEDOUT);
    const std::chrono::milliseconds limit(CLOCKPAGE_HANDOVER_LIMIT_MS);
    EXPECT_GE(took, limit - std::chrono::milliseconds(10));
    EXPECT_LT(took, 2 * limit);
  }
};

TEST_F(SilentPeerTest, WaitsForAnAnswerToALimit) {
  const descriptor listener = listening_at(socket_);  // connections are queued, not accepted
  expect_timeout("no answer: Connection timed out");
}

TEST_F(SilentPeerTest, WaitsForAConnectionToALimit) {
  const descriptor listener = listening_at(socket_, SOCK_SEQPACKET, 0);
  std::vector<descriptor> queue;  // until it is full
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_.c_str(), sizeof(address.sun_path) - 1);
  for (;;) {
    queue.emplace_back(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ASSERT_LT(queue.size(), 100u);
    if (connect(queue.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
      break;
  }
  ASSERT_EQ(errno, EAGAIN);
  expect_timeout("connect: Connection timed out");
}

// Or a program that forks and executes meanwhile would pass it on.
TEST_F(HandoverTest, ReceivesDescriptorsCloseOnExec) {
  const descriptor memory = memory_of(image_.bytes());
  const server peer(socket_,
                    [&](int to) { send_packet(to, bytes_of(good_words()), {memory.get()}); });
  descriptor received;
  ASSERT_EQ(detail::receive_descriptor(socket_.c_str(), received, error_), CLOCKPAGE_OK);
  EXPECT_EQ(fcntl(received.get(), F_GETFD), FD_CLOEXEC);
}

// ---- a descriptor of the caller's ------------------------------------------------------

TEST_F(HandoverTest, OpensADescriptorAndLeavesItToTheCaller) {
  descriptor memory = memory_of(image_.bytes());
  region_handle region = open_fd(memory.get());
  ASSERT_TRUE(region) << error_.where;
  EXPECT_GE(fcntl(memory.get(), F_GETFD), 0);
  EXPECT_EQ(clockpage_is_sealed(region.get()), 1);
  memory = descriptor();
  std::int64_t ns = 0;
  EXPECT_EQ(clockpage_read_ns(region.get(), CLOCKPAGE_REALTIME, &ns), CLOCKPAGE_OK);
}

TEST_F(HandoverTest, TellsAFileFromSealedMemoryAndRefusesItOnDemand) {
  const fs::path file = directory_.write(CLOCKPAGE_REGION_FILE, image_.bytes());
  const descriptor plain(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  for (const bool by_name : {false, true}) {
    options_.flags = 0;
    options_.directory = nullptr;
    const region_handle region = by_name ? open() : open_fd(plain.get());
    ASSERT_TRUE(region) << error_.where;
    EXPECT_EQ(clockpage_is_sealed(region.get()), 0);
    options_.flags = CLOCKPAGE_OPEN_SEALED;
    options_.directory = nullptr;
    EXPECT_FALSE(by_name ? open() : open_fd(plain.get()));
    EXPECT_EQ(code_, CLOCKPAGE_E_UNSEALED);
    const std::string name = by_name ? file.string() : "descriptor " + std::to_string(plain.get());
    EXPECT_EQ(std::string(error_.where), name + ": not sealed against being truncated");
  }
}

TEST_F(HandoverTest, DemandsASealedViewToo) {
  const descriptor memory = memory_of(image_.bytes());
  view_image view;
  const std::string file = directory_.write("view", view.bytes()).string();
  options_.view = file.c_str();
  EXPECT_TRUE(open_fd(memory.get())) << error_.where;
  options_.flags = CLOCKPAGE_OPEN_SEALED;
  EXPECT_FALSE(open_fd(memory.get()));
  EXPECT_EQ(std::string(error_.where), file + ": not sealed against being truncated");
}

TEST_F(HandoverTest, RefusesImpossibleDescriptors) {
  EXPECT_FALSE(open_fd(-1));
  EXPECT_EQ(code_, CLOCKPAGE_E_ARGUMENT);
  EXPECT_STREQ(error_.where, "fd is -1");
  EXPECT_FALSE(open_fd(1'000'000));
  EXPECT_EQ(code_, CLOCKPAGE_E_SYSTEM);
  EXPECT_STREQ(error_.where, "descriptor 1000000: fstat: Bad file descriptor");
  const descriptor memory = memory_of(image_.bytes());
  options_.directory = path_.c_str();
  EXPECT_FALSE(open_fd(memory.get()));
  EXPECT_STREQ(error_.where, "options.directory is set beside a descriptor");
  EXPECT_EQ(clockpage_open_fd(memory.get(), nullptr, nullptr, nullptr), CLOCKPAGE_E_ARGUMENT);
}

TEST_F(HandoverTest, OpensADescriptorInCppAsInC) {
  const descriptor memory = memory_of(image_.bytes());
  open_options options;
  options.sealed = true;
  const region opened = region::open_fd(memory.get(), options, error_);
  ASSERT_TRUE(opened) << error_.where;
  EXPECT_TRUE(now<realtime_clock>(opened));
  const descriptor unsealed = memory_of(image_.bytes(), 0);
  EXPECT_FALSE(region::open_fd(unsealed.get(), options, error_));
  EXPECT_EQ(make_error_code(static_cast<errc>(error_.code)), errc::unsealed);
}

}  // namespace
}  // namespace clockpage::test
