// SPDX-License-Identifier: MIT
//
// What fuzz targets share: the input as a stream or as a command line, memory with an inaccessible
// page behind it, and a check that ends the run. A target is one function, LLVMFuzzerTestOneInput,
// in foo_fuzz.cpp.
#ifndef CLOCKPAGE_TESTS_FUZZ_HPP
#define CLOCKPAGE_TESTS_FUZZ_HPP

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

// A promise that must hold for every input. Never compiled out.
#define CLOCKPAGE_FUZZ_CHECK(promise)                                                    \
  do {                                                                                   \
    if (!(promise)) {                                                                    \
      std::fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #promise); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)

namespace clockpage::fuzz {

// The input, taken from the front. Past its end everything is zero.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}

  template <class T>
  T take() {
    T value{};
    take_bytes(&value, sizeof value);
    return value;
  }
  std::size_t take_bytes(void* to, std::size_t size) {
    const std::size_t taken = std::min(size, left_.size());
    if (taken != 0) std::memcpy(to, left_.data(), taken);
    left_ = left_.subspan(taken);
    return taken;
  }
  [[nodiscard]] bool empty() const { return left_.empty(); }
  [[nodiscard]] std::span<const std::uint8_t> rest() const { return left_; }

 private:
  std::span<const std::uint8_t> left_;
};

// Writable bytes that end where an inaccessible page begins, behind another such page.
class GuardedBytes {
 public:
  explicit GuardedBytes(std::size_t capacity)
      : capacity_((capacity + kPage - 1) / kPage * kPage),
        area_(static_cast<std::byte*>(
            mmap(nullptr, capacity_ + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    CLOCKPAGE_FUZZ_CHECK(area_ != MAP_FAILED);
    CLOCKPAGE_FUZZ_CHECK(mprotect(area_ + kPage, capacity_, PROT_READ | PROT_WRITE) == 0);
  }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  ~GuardedBytes() { munmap(area_, capacity_ + 2 * kPage); }

  // The last `size` of them.
  [[nodiscard]] std::span<std::byte> last(std::size_t size) const {
    CLOCKPAGE_FUZZ_CHECK(size <= capacity_);
    return {area_ + kPage + capacity_ - size, size};
  }

 private:
  static constexpr std::size_t kPage = 4096;
  std::size_t capacity_;
  std::byte* area_;
};

// A command line as main() gets it.
class Arguments {
 public:
  explicit Arguments(std::vector<std::string> words) : words_(std::move(words)) {
    pointers_.reserve(words_.size() + 1);
    for (std::string& each : words_) pointers_.push_back(each.data());
    pointers_.push_back(nullptr);
  }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
  [[nodiscard]] int count() const { return static_cast<int>(words_.size()); }
  [[nodiscard]] char** pointers() { return pointers_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

// The input as one: the arguments, each ended by a newline, behind the program's name.
inline Arguments arguments_from(std::string_view program, const std::uint8_t* data,
                                std::size_t size) {
  std::vector<std::string> words = {std::string(program)};
  std::string word;
  for (std::size_t i = 0; i < size; i++) {
    if (data[i] == '\n') {
      words.push_back(word);
      word.clear();
    } else if (data[i] != 0) {
      word += static_cast<char>(data[i]);
    }
  }
  if (!word.empty()) words.push_back(word);
  return Arguments(std::move(words));
}

// While it lives, what is said to people goes nowhere: it is not what is tested.
class Silence {
 public:
  Silence() : stderr_(stderr), out_(std::cout.rdbuf(nullptr)), err_(std::cerr.rdbuf(nullptr)) {
    static std::FILE* const nowhere = std::fopen("/dev/null", "w");
    CLOCKPAGE_FUZZ_CHECK(nowhere != nullptr);
    stderr = nowhere;
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() {
    stderr = stderr_;
    std::cout.rdbuf(out_);
    std::cerr.rdbuf(err_);
  }

 private:
  std::FILE* stderr_;
  std::streambuf* out_;
  std::streambuf* err_;
};

}  // namespace clockpage::fuzz

#endif  // CLOCKPAGE_TESTS_FUZZ_HPP
