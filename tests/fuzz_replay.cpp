// SPDX-License-Identifier: MIT
//
// The main of a fuzz target where there is no libFuzzer: runs it once over every file of the
// named directories and files. What the fuzzer has found once stays tested in every build.
//
// Usage: foo_fuzz DIR_OR_FILE... Exit 1 if a directory holds no file, 2 on usage. A broken
// promise, or a sanitizer's finding, ends the process; the last line names the input.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <vector>

#include "fuzz.hpp"

namespace fs = std::filesystem;

namespace {

bool run_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file) {
    std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
    return false;
  }
  // Before it is run: this is the line that is left of a crash.
  std::printf("%s (%zu bytes)\n", path.c_str(), bytes.size());
  std::fflush(stdout);
  // A block of exactly this size, so that AddressSanitizer sees its ends.
  const std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(input.data(), input.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s DIR_OR_FILE...\n", argv[0]);
    return 2;
  }
  std::size_t count = 0;
  for (int i = 1; i < argc; i++) {
    std::set<fs::path> files;  // in an order that does not depend on the file system
    if (fs::is_directory(argv[i])) {
      for (const fs::directory_entry& entry : fs::directory_iterator(argv[i]))
        if (entry.is_regular_file()) files.insert(entry.path());
    } else {
      files.insert(argv[i]);
    }
    if (files.empty()) {
      std::fprintf(stderr, "%s: no corpus\n", argv[i]);
      return 1;
    }
    for (const fs::path& file : files)
      if (!run_file(file)) return 1;
    count += files.size();
  }
  std::printf("%zu inputs replayed\n", count);
  return 0;
}
