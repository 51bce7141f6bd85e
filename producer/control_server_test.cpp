// SPDX-License-Identifier: MIT
#include "control_server.hpp"

#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "region.hpp"
#include "test_pages.hpp"

namespace clockpage::producer {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A client that may be as bad as it likes.
class Client {
 public:
  explicit Client(const std::filesystem::path& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    const timeval limit{20, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  Client(Client&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  ~Client() {
    if (fd_ >= 0) close(fd_);
  }

  [[nodiscard]] bool connected() const { return connected_; }
  // Returns whether all of it was taken.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void end_sending() { shutdown(fd_, SHUT_WR); }
  // All there is to the end of the connection.
  std::string receive() {
    std::string all;
    char part[65536];
    ssize_t n = 0;
    while ((n = recv(fd_, part, sizeof part, 0)) > 0) all.append(part, static_cast<std::size_t>(n));
    return all;
  }

 private:
  int fd_ = -1;
  bool connected_ = false;
};

// Answers in a thread: "big" with 8 MB, all else with itself.
class Serving {
 public:
  explicit Serving(const std::filesystem::path& path, const ControlLimits& limits = {},
                   const ControlAccess& access = {geteuid(), {}})
      : server_(
            context_, path, access,
            [this](std::string_view line) {
              answered_++;
              return line == "big" ? std::string(8 << 20, 'b') : "got " + std::string(line);
            },
            limits),
        thread_([this] { context_.run(); }) {}
  ~Serving() {
    context_.stop();
    thread_.join();
  }
  [[nodiscard]] int answered() const { return answered_; }

 private:
  std::atomic<int> answered_{0};
  boost::asio::io_context context_;
  ControlServer server_;
  std::thread thread_;
};

class ControlServerTest : public testing::Test {
 protected:
  void SetUp() override {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    chmod(directory_.path().c_str(), 0755);
  }
  std::string ask(std::string_view bytes) {
    Client client(path_);
    EXPECT_TRUE(client.connected());
    client.send(bytes);
    return client.receive();
  }
  static std::string refused(const std::string& why) {
    return R"({"error":")" + why + R"(","ok":false})" + "\n";
  }
  test::temporary_directory directory_;
  std::filesystem::path path_ = directory_.path() / "control";
  ControlLimits quick_{.connections = 16, .request_time = 100ms, .answer_time = 300ms};
};

TEST_F(ControlServerTest, AnswersALineWithALineAndCloses) {
  const Serving serving(path_);
  EXPECT_EQ(ask("hello\n"), "got hello\n");
  Client slow(path_);
  for (const char c : {'a', 'b', '\n'}) {
    slow.send({&c, 1});
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_EQ(slow.receive(), "got ab\n");
  EXPECT_EQ(ask(std::string(16383, 'x') + "\n").size(), 16388u);
}

TEST_F(ControlServerTest, RefusesWhatIsNotOneLineOfLimitedLengthInLimitedTime) {
  const Serving serving(path_, quick_);
  EXPECT_EQ(ask(std::string(16384, 'x') + "\n"), refused("the request is longer than 16384 bytes"));
  EXPECT_EQ(ask(std::string(1 << 20, 'x')), refused("the request is longer than 16384 bytes"));
  EXPECT_EQ(ask("a\nb\n"), refused("there is more than one line"));
  EXPECT_EQ(ask("half a line"), refused("no whole line within 100 ms"));
  EXPECT_EQ(ask(""), refused("no whole line within 100 ms"));
  Client half(path_);
  half.send("half a line");
  half.end_sending();
  EXPECT_EQ(half.receive(), refused("the request does not end with a newline"));
  EXPECT_EQ(serving.answered(), 0);
  EXPECT_EQ(ask("a\n"), "got a\n");
}

TEST_F(ControlServerTest, ManySilentClientsHoldOthersUpForTheirTimeOnly) {
  const Serving serving(path_, quick_);
  std::vector<Client> silent;
  for (int i = 0; i < 160; i++) silent.emplace_back(path_);
  for (const Client& client : silent) ASSERT_TRUE(client.connected());
  // 10 times 16 of them are served, 100 ms each, before the next one's turn.
  const auto begin = Clock::now();
  EXPECT_EQ(ask("a\n"), "got a\n");
  EXPECT_GT(Clock::now() - begin, 900ms);
  for (Client& client : silent) EXPECT_EQ(client.receive(), refused("no whole line within 100 ms"));
}

TEST_F(ControlServerTest, ThousandsThatConnectAndGoLeaveNothingBehind) {
  const Serving serving(path_);
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  EXPECT_EQ(ask("a\n"), "got a\n");
  const auto before = descriptors();
  for (int i = 0; i < 5000; i++) {
    Client client(path_);
    ASSERT_TRUE(client.connected()) << i;
    if (i % 2 == 0) client.send(i % 4 == 0 ? "a\n" : "\0\xff half");
  }
  EXPECT_EQ(ask("b\n"), "got b\n");
  for (int i = 0; i < 500 && descriptors() > before; i++) std::this_thread::sleep_for(10ms);
  EXPECT_LE(descriptors(), before);
}

TEST_F(ControlServerTest, AClientThatNeverReadsItsAnswerIsDropped) {
  const Serving serving(path_, quick_);
  Client deaf(path_);
  deaf.send("big\n");
  EXPECT_EQ(ask("a\n"), "got a\n");  // meanwhile
  std::this_thread::sleep_for(1s);
  const std::string part = deaf.receive();
  EXPECT_GT(part.size(), 0u);
  EXPECT_LT(part.size(), std::size_t{8} << 20);
  EXPECT_EQ(ask("big\n").size(), (std::size_t{8} << 20) + 1);  // who reads gets all of it
}

TEST_F(ControlServerTest, AnswersThatAreNotTakenNeverFillTheMemory) {
  ControlLimits limits = quick_;
  limits.unsent_bytes = 20 << 20;
  limits.answer_time = 20s;
  const Serving serving(path_, limits);
  std::vector<Client> deaf;
  for (int i = 0; i < 2; i++) {
    deaf.emplace_back(path_);
    deaf.back().send("big\n");
  }
  while (serving.answered() < 2) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(ask("big\n"), refused("too many answers are waiting to be read: try again"));
  EXPECT_EQ(ask("a\n"), "got a\n");
  deaf.clear();
  for (int i = 0; i < 500 && ask("big\n").size() < 1000; i++) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(ask("big\n").size(), (std::size_t{8} << 20) + 1);
}

// ---- who may

// In a child process of these ids, connects and asks: 0 it was answered, 1 refused, 2 could not.
int ask_as(const std::filesystem::path& path, uid_t uid, gid_t gid,
           const std::vector<gid_t>& groups = {}) {
  const pid_t child = fork();
  if (child == 0) {
    if (setgroups(groups.size(), groups.data()) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0)
      _exit(3);
    Client client(path);
    if (!client.connected()) _exit(2);
    client.send("a\n");
    const std::string answer = client.receive();
    if (answer == "got a\n") _exit(0);
    _exit(answer.find("permission denied") != std::string::npos ? 1 : 4);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(ControlServerTest, ItsModeKeepsOthersOut) {
  struct stat status {};
  {
    const Serving serving(path_);
    ASSERT_EQ(stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u);
  }
  const Serving serving(path_, {}, {geteuid(), getegid()});
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0660u);
  EXPECT_EQ(status.st_gid, getegid());
}

TEST_F(ControlServerTest, AnswersRootItsOwnUserAndItsGroupAlone) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be somebody else";
  constexpr uid_t kOwner = 12001;
  constexpr gid_t kGroup = 12002;
  const Serving serving(path_, {}, {kOwner, kGroup});
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);  // the mode would keep them out before they are judged
  EXPECT_EQ(ask_as(path_, 0, 0), 0);
  EXPECT_EQ(ask_as(path_, kOwner, 1), 0);
  EXPECT_EQ(ask_as(path_, 12003, kGroup), 0);
  EXPECT_EQ(ask_as(path_, 12003, 1, {5, kGroup}), 0);
  std::vector<gid_t> many(300);
  for (gid_t i = 0; i < 300; i++) many[i] = 20000 + i;
  EXPECT_EQ(ask_as(path_, 12003, 1, many), 1);
  many[299] = kGroup;
  EXPECT_EQ(ask_as(path_, 12003, 1, many), 0);
  EXPECT_EQ(ask_as(path_, 12003, 1), 1);
  EXPECT_EQ(ask_as(path_, 12003, 1, {0, 5}), 1);  // root's group is not root
}

TEST_F(ControlServerTest, WithoutAGroupNobodyElseIsAnswered) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be somebody else";
  const Serving serving(path_, {}, {12001, {}});
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  EXPECT_EQ(ask_as(path_, 12003, 0, {0}), 1);
  EXPECT_EQ(ask_as(path_, 12001, 1), 0);
}

// ---- its name

std::string refusal_to_listen(const std::filesystem::path& path) {
  boost::asio::io_context context;
  try {
    const ControlServer server(context, path, {}, [](std::string_view) { return std::string(); });
  } catch (const RegionError& e) {
    return e.what();
  }
  return "listens";
}

TEST_F(ControlServerTest, TakesTheNameOfADeadSocketAndOfNothingElse) {
  EXPECT_EQ(refusal_to_listen(path_), "listens");
  EXPECT_FALSE(std::filesystem::exists(path_));
  {
    // Its owner died: the file stays.
    const int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(bind(dead, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(dead, 1), 0);
    EXPECT_EQ(refusal_to_listen(path_), path_.string() + ": somebody else listens there");
    close(dead);
  }
  ASSERT_TRUE(std::filesystem::exists(path_));
  {
    const Serving serving(path_);
    EXPECT_EQ(ask("a\n"), "got a\n");
    EXPECT_EQ(refusal_to_listen(path_), path_.string() + ": somebody else listens there");
    EXPECT_EQ(ask("a\n"), "got a\n");
  }
  std::ofstream(path_) << "a file";
  EXPECT_EQ(refusal_to_listen(path_),
            path_.string() + ": is not a socket: remove it to control views there");
  EXPECT_TRUE(std::filesystem::is_regular_file(path_));
  EXPECT_NE(refusal_to_listen(directory_.path() / std::string(120, 'x') / "control"), "listens");
  EXPECT_NE(refusal_to_listen(directory_.path() / "none" / "control"), "listens");
}

TEST_F(ControlServerTest, RemovesItsNameOnlyWhileItIsItsOwn) {
  auto serving = std::make_unique<Serving>(path_);
  std::filesystem::remove(path_);
  std::ofstream(path_) << "another's";
  serving.reset();
  EXPECT_TRUE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace clockpage::producer
