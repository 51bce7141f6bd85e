// SPDX-License-Identifier: MIT
#include "traced.hpp"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace clockpage::fault {
namespace {

constexpr std::uint8_t kBreakpoint = 0xcc;  // int3

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

std::uint32_t interned(const std::string& name) {
  static std::vector<std::string> names;
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<std::uint32_t>(found - names.begin());
  names.push_back(name);
  return static_cast<std::uint32_t>(names.size() - 1);
}

template <typename T>
const T* at(const std::vector<char>& bytes, std::uint64_t offset) {
  if (offset + sizeof(T) > bytes.size()) throw std::runtime_error("a damaged ELF file");
  return reinterpret_cast<const T*>(bytes.data() + offset);
}

[[noreturn]] void become(const std::vector<std::string>& arguments, const std::string& log) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(fd, STDOUT_FILENO);
  dup2(fd, STDERR_FILENO);
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0) execv(argv[0], argv.data());
  _exit(127);
}

}  // namespace

Symbols::Symbols(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const auto* header = at<Elf64_Ehdr>(bytes, 0);
  for (unsigned i = 0; i < header->e_shnum; i++) {
    const auto* section = at<Elf64_Shdr>(bytes, header->e_shoff + i * sizeof(Elf64_Shdr));
    if (section->sh_type != SHT_SYMTAB) continue;
    const auto* names =
        at<Elf64_Shdr>(bytes, header->e_shoff + section->sh_link * sizeof(Elf64_Shdr));
    for (std::uint64_t o = 0; o < section->sh_size; o += sizeof(Elf64_Sym)) {
      const auto* symbol = at<Elf64_Sym>(bytes, section->sh_offset + o);
      if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_size == 0) continue;
      functions_[symbol->st_value] = {symbol->st_size,
                                      bytes.data() + names->sh_offset + symbol->st_name};
    }
  }
}

std::uint64_t Symbols::begin_of(const std::string& prefix) const {
  for (const auto& [offset, range] : functions_)
    if (range.name.rfind(prefix, 0) == 0 && range.name.find(".cold") == std::string::npos)
      return offset;
  throw std::runtime_error("no symbol " + prefix + " in the program");
}

std::string Symbols::describe(std::uint64_t offset) const {
  auto next = functions_.upper_bound(offset);
  if (next == functions_.begin()) return "?";
  const auto& [begin, range] = *std::prev(next);
  return range.name + "+" + std::to_string(offset - begin);
}

Traced::Traced(const std::vector<std::string>& arguments, const std::string& log) {
  pid_ = fork();
  if (pid_ < 0) fail("fork");
  if (pid_ == 0) become(arguments, log);
  const int status = wait();
  if (!WIFSTOPPED(status)) throw std::runtime_error("cannot start and trace " + arguments[0]);
  const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
  if (ptrace(PTRACE_SETOPTIONS, pid_, nullptr, options) != 0) fail("PTRACE_SETOPTIONS");
  refresh_modules();
}

Traced::~Traced() {
  if (pid_ > 0) kill();
}

Traced::Traced(Traced&& other) noexcept
    : pid_(other.pid_),
      traced_(other.traced_),
      signal_(other.signal_),
      modules_(std::move(other.modules_)),
      breakpoints_(std::move(other.breakpoints_)) {
  other.pid_ = -1;
}

int Traced::wait() {
  int status = 0;
  pid_t done;
  do done = waitpid(pid_, &status, __WALL | WUNTRACED);
  while (done < 0 && errno == EINTR);
  if (done < 0) fail("waitpid");
  if (WIFEXITED(status) || WIFSIGNALED(status)) pid_ = -1;
  return status;
}

user_regs_struct Traced::registers() const {
  user_regs_struct out{};
  if (ptrace(PTRACE_GETREGS, pid_, nullptr, &out) != 0) fail("PTRACE_GETREGS");
  return out;
}

std::uint64_t Traced::word(std::uint64_t address) const {
  errno = 0;
  const long value = ptrace(PTRACE_PEEKDATA, pid_, address, nullptr);
  if (errno != 0) fail("PTRACE_PEEKDATA");
  return static_cast<std::uint64_t>(value);
}

void Traced::set_word(std::uint64_t address, std::uint64_t value) {
  if (ptrace(PTRACE_POKEDATA, pid_, address, value) != 0) fail("PTRACE_POKEDATA");
}

void Traced::refresh_modules() {
  modules_.clear();
  std::ifstream maps("/proc/" + std::to_string(pid_) + "/maps");
  std::map<std::string, std::uint64_t> bases;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream in(line);
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    char dash = 0;
    std::string access, offset, device, inode, path;
    in >> std::hex >> begin >> dash >> end >> access >> offset >> device >> inode >> path;
    if (path.empty()) continue;
    const std::uint64_t base = bases.try_emplace(path, begin).first->second;
    if (access.find('x') != std::string::npos)
      modules_.push_back({interned(path), begin, end, base});
  }
  if (modules_.empty()) throw std::runtime_error("the process has no executable mapping");
}

std::uint64_t Traced::address(const Location& location) {
  for (int tries = 0; tries < 2; tries++) {
    for (const Module& m : modules_)
      if (m.name == location.module) return m.base + location.offset;
    refresh_modules();  // libraries come later
  }
  throw std::runtime_error("a location in a file that is not mapped");
}

Location Traced::locate(std::uint64_t address) {
  for (int tries = 0; tries < 2; tries++) {
    for (const Module& m : modules_)
      if (address >= m.begin && address < m.end) return {m.name, address - m.base};
    refresh_modules();
  }
  throw std::runtime_error("an instruction outside all files");
}

std::uint64_t Traced::module_begin(const std::string& path) {
  const std::uint32_t name = interned(path);
  for (const Module& m : modules_)
    if (m.name == name) return m.begin;
  throw std::runtime_error(path + " is not mapped");
}

void Traced::restore(std::uint64_t breakpoint, bool original) {
  const std::uint64_t old = word(breakpoint);
  const std::uint8_t byte = original ? breakpoints_.at(breakpoint) : kBreakpoint;
  set_word(breakpoint, (old & ~std::uint64_t{0xff}) | byte);
}

void Traced::insert(std::uint64_t breakpoint) {
  if (breakpoints_.contains(breakpoint)) return;
  breakpoints_[breakpoint] = static_cast<std::uint8_t>(word(breakpoint));
  restore(breakpoint, false);
}

void Traced::remove(std::uint64_t breakpoint) {
  if (!breakpoints_.contains(breakpoint)) return;
  restore(breakpoint, true);
  breakpoints_.erase(breakpoint);
}

void Traced::remove_all() {
  while (!breakpoints_.empty()) remove(breakpoints_.begin()->first);
}

void Traced::step() {
  const std::uint64_t here = pc();
  const bool covered = breakpoints_.contains(here);
  if (covered) restore(here, true);
  if (ptrace(PTRACE_SINGLESTEP, pid_, nullptr, signal_) != 0) fail("PTRACE_SINGLESTEP");
  const int status = wait();
  if (!WIFSTOPPED(status)) throw std::runtime_error("the process ended while it was stepped");
  signal_ = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
  if (covered) restore(here, false);
}

std::uint64_t Traced::resume() {
  if (breakpoints_.contains(pc())) step();
  for (;;) {
    if (ptrace(PTRACE_CONT, pid_, nullptr, signal_) != 0) fail("PTRACE_CONT");
    const int status = wait();
    if (pid_ < 0) return 0;
    signal_ = 0;
    if (status >> 16 != 0) continue;  // an event of ptrace's own
    if (WSTOPSIG(status) != SIGTRAP) {
      signal_ = WSTOPSIG(status);
      continue;
    }
    user_regs_struct now = registers();
    if (!breakpoints_.contains(now.rip - 1)) continue;
    now.rip--;
    if (ptrace(PTRACE_SETREGS, pid_, nullptr, &now) != 0) fail("PTRACE_SETREGS");
    return now.rip;
  }
}

bool Traced::resume_to_system_call() {
  if (breakpoints_.contains(pc())) step();
  for (;;) {
    if (ptrace(PTRACE_SYSCALL, pid_, nullptr, signal_) != 0) fail("PTRACE_SYSCALL");
    const int status = wait();
    if (pid_ < 0) return false;
    signal_ = 0;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) return true;
    if (status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP) signal_ = WSTOPSIG(status);
  }
}

void Traced::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (pid_ > 0) wait();
}

void Traced::stop() {
  remove_all();
  if (::kill(pid_, SIGSTOP) != 0) fail("kill");
  if (ptrace(PTRACE_DETACH, pid_, nullptr, nullptr) != 0) fail("PTRACE_DETACH");
  traced_ = false;
  const int status = wait();
  if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
    throw std::runtime_error("the process did not stop");
}

void Traced::go_on() {
  if (::kill(pid_, SIGCONT) != 0) fail("kill");
  const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
  if (ptrace(PTRACE_SEIZE, pid_, nullptr, options) != 0) fail("PTRACE_SEIZE");
  if (ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr) != 0) fail("PTRACE_INTERRUPT");
  traced_ = true;
  if (!WIFSTOPPED(wait())) throw std::runtime_error("the process ended when it was continued");
}

void Traced::release() {
  remove_all();
  if (ptrace(PTRACE_DETACH, pid_, nullptr, nullptr) != 0) fail("PTRACE_DETACH");
  traced_ = false;
}

}  // namespace clockpage::fault
