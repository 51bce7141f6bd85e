// SPDX-License-Identifier: MIT
//
// Inside libclockpage: descriptors, and a region's descriptor handed over a socket.
#ifndef CLOCKPAGE_HANDOVER_HPP
#define CLOCKPAGE_HANDOVER_HPP

#include <clockpage/clockpage.h>
#include <unistd.h>

#include <utility>

namespace clockpage::detail {

// Owns an open file, or none (-1).
class descriptor {
 public:
  explicit descriptor(int number = -1) noexcept : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~descriptor() {
    if (number_ >= 0) close(number_);
  }

  int get() const noexcept { return number_; }

 private:
  int number_;
};

// Whether nobody can ever shrink this file. A seal is never taken off again.
bool is_sealed(int file) noexcept;

// Connects to the socket `path` and takes the one descriptor that its owner sends. The owner may
// be hostile: at most CLOCKPAGE_HANDOVER_LIMIT_MS are spent, no descriptor is left open but
// `received`, and nothing is believed of it: check it as any other file. Returns 0 or
// CLOCKPAGE_E_{SYSTEM,MAGIC,VERSION,SIZE}.
int receive_descriptor(const char* path, descriptor& received,
                       clockpage_open_error& error) noexcept;

}  // namespace clockpage::detail

#endif  // CLOCKPAGE_HANDOVER_HPP
