// SPDX-License-Identifier: MIT
// Whether a producer may go on with a region that it finds. Spec section 9.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "identity.hpp"
#include "region.hpp"

namespace clockpage::producer {

// What a mapped file or memory is; `path`: the name that messages have for it, `now`: the host's
// counter. Throws RegionError, one line, if it is nothing that a producer of this counter and
// source may go on with or replace. Its bytes are hostile.
ExistingRegion judge_region(const std::filesystem::path& path,
                            const boost::interprocess::mapped_region& mapped, const Id& boot_id,
                            const CounterIdentity& counter, std::string_view source,
                            std::uint64_t now);

}  // namespace clockpage::producer
