// SPDX-License-Identifier: MIT
// Runs a program whose time-stamp counter is at fault, by trapping every rdtsc of it
// (PR_SET_TSC, ptrace); the program is unchanged and sees the kernel's clocks as they are (by
// system calls: its vDSO is hidden from it, since that reads the counter too).
//
// faulty_counter FILE PROGRAM [ARGUMENT...]
// FILE holds three 64-bit integers and may change at any time: `at`, a value of the CPU's counter;
// `jump`, ticks; `rate`, ppb. From `at` on (0: never) the program's counter is
// at + jump + (counter - at) * (1 + rate / 1e9). SIGTERM is passed on; the exit code is the
// program's.
#if defined(__x86_64__)

#include <clockpage/counter.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>

namespace {

struct Fault {
  volatile std::uint64_t at;
  volatile std::int64_t jump;
  volatile std::int64_t rate_ppb;
};

pid_t child = 0;

void pass_on(int signal) { kill(child, signal); }

std::uint64_t faulty(const Fault& fault, std::uint64_t counter) {
  const std::uint64_t at = fault.at;
  const auto since = static_cast<std::int64_t>(counter - at);
  if (at == 0 || since < 0) return counter;
  const double extra = static_cast<double>(since) * 1e-9 * static_cast<double>(fault.rate_ppb);
  return counter + static_cast<std::uint64_t>(fault.jump + static_cast<std::int64_t>(extra));
}

long peek(std::uint64_t address) {
  return ptrace(PTRACE_PEEKDATA, child, reinterpret_cast<void*>(address), nullptr);
}

// At the first instruction the stack holds argc, argv, a null, envp, a null, the auxiliary vector.
void hide_vdso() {
  user_regs_struct regs{};
  ptrace(PTRACE_GETREGS, child, nullptr, &regs);
  std::uint64_t at = regs.rsp + 8 * (static_cast<std::uint64_t>(peek(regs.rsp)) + 2);
  while (peek(at) != 0) at += 8;
  for (at += 8; peek(at) != AT_NULL; at += 16)
    if (peek(at) == AT_SYSINFO_EHDR)
      ptrace(PTRACE_POKEDATA, child, reinterpret_cast<void*>(at),
             reinterpret_cast<void*>(AT_IGNORE));
}

// Whether the signal was a read of the counter, which has been done instead.
bool emulate(const Fault& fault) {
  user_regs_struct regs{};
  if (ptrace(PTRACE_GETREGS, child, nullptr, &regs) != 0) return false;
  const auto code = static_cast<std::uint64_t>(peek(regs.rip));
  const bool rdtsc = (code & 0xffff) == 0x310f;
  const bool rdtscp = (code & 0xffffff) == 0xf9010f;
  if (!rdtsc && !rdtscp) return false;
  const std::uint64_t counter = faulty(fault, clockpage_counter_ordered());
  regs.rax = counter & 0xffffffff;
  regs.rdx = counter >> 32;
  if (rdtscp) regs.rcx = 0;
  regs.rip += rdtsc ? 2 : 3;
  return ptrace(PTRACE_SETREGS, child, nullptr, &regs) == 0;
}

int trace(const Fault& fault) {
  int status = 0;
  bool begun = false;
  for (;;) {
    if (waitpid(child, &status, 0) < 0) {
      if (errno == EINTR) continue;
      return 126;
    }
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    if (WIFSIGNALED(status)) return 128 + WTERMSIG(status);
    int signal = WSTOPSIG(status);
    if (!begun && signal == SIGTRAP) {  // exec
      begun = true;
      ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_EXITKILL);
      hide_vdso();
      signal = 0;
    } else if (signal == SIGSEGV && emulate(fault)) {
      signal = 0;
    }
    ptrace(PTRACE_CONT, child, nullptr, static_cast<long>(signal));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const int file = open(argv[1], O_RDONLY | O_CLOEXEC);
  void* memory = mmap(nullptr, sizeof(Fault), PROT_READ, MAP_SHARED, file, 0);
  if (file < 0 || memory == MAP_FAILED) {
    std::perror(argv[1]);
    return 126;
  }
  child = fork();
  if (child < 0) return 126;
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    if (prctl(PR_SET_TSC, PR_TSC_SIGSEGV) != 0) _exit(126);
    execv(argv[2], argv + 2);
    _exit(126);
  }
  struct sigaction action {};
  action.sa_handler = pass_on;
  sigaction(SIGTERM, &action, nullptr);
  return trace(*static_cast<const Fault*>(memory));
}

#else

int main() { return 77; }

#endif
