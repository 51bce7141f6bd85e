// SPDX-License-Identifier: MIT
#include "kvm_relation.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>

namespace clockpage::producer {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostVcpus = 16384;  // KVM_MAX_VCPU_IDS is 4 * 4096
constexpr int kAttempts = 4;               // while L2 guests come and go
constexpr const char* kByHand = "give --tsc-offset and --tsc-ratio instead";

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

template <typename Number>
std::optional<Number> parse(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A file of one number and a newline, as DEFINE_SIMPLE_ATTRIBUTE makes them.
template <typename Number>
struct NumberFile {
  std::optional<Number> value{};
  bool absent = false;
  std::string reason{};  // without a value
};
template <typename Number>
NumberFile<Number> read_number(int directory, const char* name) {
  const File file(openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0)
    return {std::nullopt, errno == ENOENT, fmt::format("{}: {}", name, std::strerror(errno))};
  std::array<char, 32> text{};
  const ssize_t length = ::read(file.get(), text.data(), text.size());
  if (length < 0) return {std::nullopt, false, fmt::format("{}: {}", name, std::strerror(errno))};
  std::string_view line(text.data(), static_cast<std::size_t>(length));
  if (line.ends_with('\n')) line.remove_suffix(1);
  const auto value = parse<Number>(line);
  if (!value) return {std::nullopt, false, fmt::format("{}: is not a number", name)};
  return {value, false, {}};
}

// The numbers N of the entries `prefix`N of a directory, in order. Nothing: it cannot be read.
std::optional<std::vector<unsigned>> numbered_entries(const File& directory,
                                                      std::string_view prefix) {
  const int copy = openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return std::nullopt;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(copy), &closedir);
  if (!stream) {
    close(copy);
    return std::nullopt;
  }
  std::vector<unsigned> numbers;
  while (const dirent* entry = readdir(stream.get())) {
    std::string_view name = entry->d_name;
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    const auto number = parse<unsigned>(name);
    if (number && numbers.size() < kMostVcpus) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// Field 22 of /proc/PID/stat. The second, the program's name, may contain anything.
// Nothing, and errno is neither ENOENT nor ESRCH: there may be such a process.
std::optional<std::uint64_t> start_time_of(pid_t pid) {
  errno = 0;
  const File file(open(fmt::format("/proc/{}/stat", pid).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 1024> text{};
  const ssize_t length = file.get() < 0 ? -1 : ::read(file.get(), text.data(), text.size());
  if (length <= 0) return std::nullopt;
  std::string_view rest(text.data(), static_cast<std::size_t>(length));
  const auto name_end = rest.rfind(')');
  if (name_end == std::string_view::npos) return std::nullopt;
  rest.remove_prefix(name_end + 1);
  for (int field = 2; field < 22; field++) {
    const auto space = rest.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(space + 1);
  }
  return parse<std::uint64_t>(rest.substr(0, rest.find(' ')));
}

struct Vcpu {
  CounterRelation relation{};
  bool tells_mode = false;
  bool nested = false;
  std::string reason{};  // it could not be read
};

Vcpu read_vcpu(const File& machine, unsigned number) {
  const std::string name = fmt::format("vcpu{}", number);
  const auto failed = [&](const std::string& reason) {
    return Vcpu{{}, false, false, fmt::format("{}/{}", name, reason)};
  };
  const File directory(
      openat(machine.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (directory.get() < 0) return failed(std::strerror(errno));
  const auto mode_before = read_number<std::int64_t>(directory.get(), "guest_mode");
  const auto offset = read_number<std::int64_t>(directory.get(), "tsc-offset");
  const auto ratio = read_number<std::uint64_t>(directory.get(), "tsc-scaling-ratio");
  const auto bits = read_number<std::uint8_t>(directory.get(), "tsc-scaling-ratio-frac-bits");
  const auto mode_after = read_number<std::int64_t>(directory.get(), "guest_mode");
  // Linux before 5.14 has no guest_mode, and KVM without TSC control no scaling files.
  if (!mode_before.value && !mode_before.absent) return failed(mode_before.reason);
  if (!mode_after.value && !mode_after.absent) return failed(mode_after.reason);
  if (!offset.value) return failed(offset.reason);
  Vcpu vcpu;
  vcpu.relation.offset = *offset.value;
  vcpu.tells_mode = mode_before.value && mode_after.value;
  vcpu.nested = mode_before.value.value_or(0) != 0 || mode_after.value.value_or(0) != 0;
  if (ratio.absent && bits.absent) return vcpu;
  if (!ratio.value) return failed(ratio.reason);
  if (!bits.value) return failed(bits.reason);
  if (*bits.value != 32 && *bits.value != 48)
    return failed(
        fmt::format("tsc-scaling-ratio-frac-bits: is {}, not 32 (SVM) or 48 (VMX)", *bits.value));
  if (*ratio.value == 0) return failed("tsc-scaling-ratio: is 0");
  // One is one, whatever its bits.
  if (*ratio.value == std::uint64_t{1} << *bits.value) return vcpu;
  vcpu.relation.ratio = *ratio.value;
  vcpu.relation.frac_bits = *bits.value;
  return vcpu;
}

std::string disagreement(unsigned a, const CounterRelation& ra, unsigned b,
                         const CounterRelation& rb) {
  if (ra.offset != rb.offset)
    return fmt::format("vcpu{} has tsc-offset {} and vcpu{} has {}", a, ra.offset, b, rb.offset);
  return fmt::format("vcpu{} has TSC ratio {} / 2^{} and vcpu{} has {} / 2^{}", a, ra.ratio,
                     ra.frac_bits, b, rb.ratio, rb.frac_bits);
}

const char* nested_advice() {
  return "the files tell the offset and ratio of both guests combined until it ends: pause it "
         "meanwhile, or give --tsc-offset and --tsc-ratio";
}

using State = KvmReading::State;
KvmReading not_known(State state, std::string reason) { return {state, {}, std::move(reason)}; }

// Every vCPU once.
KvmReading read_vcpus(const File& machine) {
  const auto numbers = numbered_entries(machine, "vcpu");
  if (!numbers) return not_known(State::unreadable, std::strerror(errno));
  if (numbers->empty())
    return not_known(State::unreadable, "has no vCPU (yet): make the view once there is one");
  const auto runs = [&] { return read_number<std::uint64_t>(machine.get(), "nested_run").value; };
  const auto runs_before = runs();
  std::optional<CounterRelation> first;
  std::string difference;
  bool all_tell_mode = true;
  for (const unsigned number : *numbers) {
    const Vcpu vcpu = read_vcpu(machine, number);
    if (!vcpu.reason.empty()) return not_known(State::unreadable, vcpu.reason);
    if (vcpu.nested)
      return not_known(State::nested, fmt::format("vcpu{} runs a nested guest (guest_mode): {}",
                                                  number, nested_advice()));
    all_tell_mode = all_tell_mode && vcpu.tells_mode;
    if (!first) first = vcpu.relation;
    if (difference.empty() && vcpu.relation != *first)
      difference = disagreement(numbers->front(), *first, number, vcpu.relation);
  }
  // guest_mode is a sample: a nested guest may have run between two of them. KVM counts those
  // (nested_run, over all vCPUs).
  const auto runs_after = runs();
  if (runs_before != runs_after || (!all_tell_mode && runs_after.value_or(0) != 0))
    return not_known(State::nested,
                     fmt::format("nested guests run (nested_run): {}", nested_advice()));
  if (!difference.empty())
    return not_known(State::disagree, difference + ": all vCPUs of a view's guest must have one");
  return {State::known, *first, {}};
}

std::string without_root(const fs::path& root, int error) {
  const char* advice = "";
  if (error == ENOENT)
    advice =
        ": debugfs is not mounted (mount -t debugfs none /sys/kernel/debug), or there is no "
        "KVM here; else ";
  if (error == EACCES) advice = ": debugfs is for root alone; else ";
  if (error == EPERM) advice = ": the kernel is locked down; else ";
  return fmt::format("{}: {}{}{}", root.string(), std::strerror(error),
                     *advice != '\0' ? advice : "; ", kByHand);
}

[[noreturn]] void fail_root(const fs::path& root, int error) {
  throw RegionError(without_root(root, error));
}

struct Candidate {
  pid_t creator;
  int fd;
};
// The machines that any thread of this process has made: debugfs calls them by its number.
std::vector<Candidate> machines_of(const fs::path& root, const File& directory, pid_t pid) {
  std::vector<unsigned> threads;
  const File tasks(
      open(fmt::format("/proc/{}/task", pid).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (tasks.get() >= 0) threads = numbered_entries(tasks, "").value_or(std::vector<unsigned>{});
  const int copy = openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) fail_root(root, errno);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(copy), &closedir);
  if (!stream) {
    close(copy);
    fail_root(root, ENOMEM);
  }
  std::vector<Candidate> found;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    const auto dash = name.find('-');
    if (dash == std::string_view::npos) continue;
    const auto creator = parse<unsigned>(name.substr(0, dash));
    const auto fd = parse<int>(name.substr(dash + 1));
    if (!creator || !fd || *fd < 0) continue;
    if (*creator != static_cast<unsigned>(pid) &&
        !std::binary_search(threads.begin(), threads.end(), *creator))
      continue;
    found.push_back({static_cast<pid_t>(*creator), *fd});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.fd < b.fd; });
  return found;
}

}  // namespace

fs::path KvmDebugfs::path_of(const KvmMachine& machine) const {
  return root_ / fmt::format("{}-{}", machine.creator, machine.fd);
}

KvmMachine KvmDebugfs::find(pid_t pid, std::optional<int> fd) const {
  const auto start_time = start_time_of(pid);
  if (!start_time) throw RegionError(fmt::format("there is no process {}", pid));
  const File root(open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root.get() < 0) fail_root(root_, errno);
  auto found = machines_of(root_, root, pid);
  if (fd) std::erase_if(found, [&](const Candidate& c) { return c.fd != *fd; });
  if (found.empty())
    throw RegionError(fmt::format(
        "{}: process {} has no virtual machine{}; in a PID namespace its number is another one: {}",
        root_.string(), pid, fd ? fmt::format(" with descriptor {}", *fd) : "", kByHand));
  if (found.size() > 1) {
    std::string fds;
    for (const Candidate& c : found) fds += fmt::format("{}{}", fds.empty() ? "" : ", ", c.fd);
    throw RegionError(
        fmt::format("{}: process {} has {} virtual machines, with descriptors {}: say which one by "
                    "--vm-fd",
                    root_.string(), pid, found.size(), fds));
  }
  KvmMachine machine{pid, *start_time, found.front().creator, found.front().fd, 0};
  struct stat status {};
  if (stat(path_of(machine).c_str(), &status) != 0)
    throw RegionError(fmt::format("{}: {}", path_of(machine).string(), std::strerror(errno)));
  machine.inode = status.st_ino;
  return machine;
}

KvmReading KvmDebugfs::read(const KvmMachine& machine) const {
  const auto gone = [&](const char* why) {
    return not_known(State::gone, fmt::format("{}: {}", path_of(machine).string(), why));
  };
  const auto start_time = start_time_of(machine.pid);
  if (!start_time && errno != 0 && errno != ENOENT && errno != ESRCH)
    return not_known(State::unreadable,
                     fmt::format("/proc/{}/stat: {}", machine.pid, std::strerror(errno)));
  if (start_time != machine.start_time) return gone("the VMM's process has ended");
  // Without debugfs, or KVM's directory there, nothing can be said of any machine.
  const File root(open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root.get() < 0) return not_known(State::unreadable, without_root(root_, errno));
  const std::string name = path_of(machine).filename().string();
  const File directory(
      openat(root.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (directory.get() < 0 && errno == ENOENT) return gone("the virtual machine has ended");
  if (directory.get() < 0 || fstat(directory.get(), &status) != 0)
    return not_known(State::unreadable,
                     fmt::format("{}: {}", path_of(machine).string(), std::strerror(errno)));
  if (status.st_ino != machine.inode)
    return gone("the virtual machine has ended, and another one has its name");
  KvmReading reading;
  for (int attempt = 0; attempt < kAttempts; attempt++) {
    reading = read_vcpus(directory);
    if (reading.state != State::nested) break;
  }
  // Files that fail because the machine ends under us are no fault of theirs.
  if (reading.state == State::unreadable && faccessat(root.get(), name.c_str(), F_OK, 0) != 0 &&
      errno == ENOENT)
    return gone("the virtual machine has ended");
  if (!reading.reason.empty())
    reading.reason = fmt::format("{}: {}", path_of(machine).string(), reading.reason);
  return reading;
}

CounterRelation KvmDebugfs::relation_of(const KvmMachine& machine) const {
  const KvmReading reading = read(machine);
  if (reading.state != State::known) throw RegionError(reading.reason);
  return reading.relation;
}

}  // namespace clockpage::producer
