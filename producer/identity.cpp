// SPDX-License-Identifier: MIT
#include "identity.hpp"

#include <sys/random.h>

#include <algorithm>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/string_generator.hpp>
#include <boost/uuid/uuid.hpp>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>

namespace clockpage::producer {

namespace {

std::string first_word(const char* path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

Id to_id(const boost::uuids::uuid& uuid) {
  Id id;
  std::copy(uuid.begin(), uuid.end(), id.begin());
  return id;
}

// Namespace of clockpage's host identities; drawn once, at random.
constexpr boost::uuids::uuid kHostNamespace = {0x5c, 0x1b, 0x8e, 0x0a, 0x91, 0x3d, 0x4e, 0x67,
                                               0xb2, 0x46, 0x0f, 0xd1, 0x7a, 0xc3, 0x58, 0x2e};

}  // namespace

Id read_host_id() {
  const std::string machine = first_word("/etc/machine-id");
  if (machine.empty()) return {};
  return to_id(boost::uuids::name_generator_sha1(kHostNamespace)(machine));
}

Id read_boot_id() {
  const std::string boot = first_word("/proc/sys/kernel/random/boot_id");
  try {
    return to_id(boost::uuids::string_generator()(boot));
  } catch (const std::runtime_error&) {
    return {};
  }
}

std::uint64_t random_u64() {
  std::uint64_t value = 0;
  if (getrandom(&value, sizeof value, 0) == static_cast<ssize_t>(sizeof value)) return value;
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

}  // namespace clockpage::producer
