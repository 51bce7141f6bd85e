// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>

namespace clockpage::tool {

/// Writes FILE completely or not at all: under a temporary name beside it, then renamed. Destroyed
/// before finish(): nothing is left. Every function throws Failure.
class WholeFile {
 public:
  explicit WholeFile(const std::string& file);
  ~WholeFile();
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  void write(const void* bytes, size_t size);
  void finish();

 private:
  std::string file_;
  std::string temporary_;
  int descriptor_;
};

}  // namespace clockpage::tool
