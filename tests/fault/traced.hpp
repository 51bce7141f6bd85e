// SPDX-License-Identifier: MIT
// A process under ptrace: breakpoints, single steps, SIGKILL and SIGSTOP at a chosen instruction.
// The traced program knows nothing of it. x86-64 only.
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace clockpage::fault {

// An instruction, the same in every run of a program: its file and the offset in memory from the
// file's load address, whatever address space randomisation made of it.
struct Location {
  std::uint32_t module = 0;  // index into an interned list of file names
  std::uint64_t offset = 0;
  bool operator<(const Location& other) const noexcept {
    return module != other.module ? module < other.module : offset < other.offset;
  }
};

// Function symbols of an unstripped ELF file. Addresses are relative to its load address.
class Symbols {
 public:
  explicit Symbols(const std::string& path);
  // The one whose mangled name begins with `prefix`. Throws if there is none.
  [[nodiscard]] std::uint64_t begin_of(const std::string& prefix) const;
  // Name of the function at an offset, "+" and the distance; for messages.
  [[nodiscard]] std::string describe(std::uint64_t offset) const;

 private:
  struct Range {
    std::uint64_t size;
    std::string name;
  };
  std::map<std::uint64_t, Range> functions_;
};

// Every function throws std::runtime_error where ptrace or the process fails it.
class Traced {
 public:
  // Starts `arguments`, stopped at its first instruction. Its stderr goes to `log`.
  Traced(const std::vector<std::string>& arguments, const std::string& log);
  ~Traced();
  Traced(Traced&& other) noexcept;
  Traced(const Traced&) = delete;
  Traced& operator=(const Traced&) = delete;
  Traced& operator=(Traced&&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] bool alive() const noexcept { return pid_ > 0; }
  [[nodiscard]] std::uint64_t pc() const { return registers().rip; }
  [[nodiscard]] user_regs_struct registers() const;
  [[nodiscard]] std::uint64_t word(std::uint64_t address) const;
  void set_word(std::uint64_t address, std::uint64_t value);

  // Where a location is in this process, and the other way round.
  [[nodiscard]] std::uint64_t address(const Location& location);
  [[nodiscard]] Location locate(std::uint64_t address);

  // Where the first executable mapping of a file begins.
  [[nodiscard]] std::uint64_t module_begin(const std::string& path);

  void insert(std::uint64_t breakpoint);
  void remove(std::uint64_t breakpoint);
  void remove_all();
  // Runs to a breakpoint and returns its address; nothing of it has been executed. 0: it ended.
  std::uint64_t resume();
  // One machine instruction, a system call whole.
  void step();
  // Runs to the entry (or, from there, the exit) of the next system call. False: it ended.
  bool resume_to_system_call();

  // SIGKILL; returns when it is dead.
  void kill();
  // SIGSTOP, no longer traced; returns when it has stopped.
  void stop();
  // SIGCONT, traced again: stopped somewhere.
  void go_on();
  // Lets it run untraced. Only kill() is of use then.
  void release();

 private:
  int wait();
  void refresh_modules();
  void restore(std::uint64_t breakpoint, bool original);

  struct Module {
    std::uint32_t name;
    std::uint64_t begin, end, base;
  };
  pid_t pid_ = -1;
  bool traced_ = true;
  int signal_ = 0;  // to be delivered when it goes on
  std::vector<Module> modules_;
  std::map<std::uint64_t, std::uint8_t> breakpoints_;  // address, the byte that was there
};

}  // namespace clockpage::fault
