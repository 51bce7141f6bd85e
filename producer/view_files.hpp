// SPDX-License-Identifier: MIT
// The files of views, without what is made of them: reading one whole, its owner and mode, and the
// records of what views are made from.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "view_registry.hpp"

namespace clockpage::producer {

// Reads a view file of whatever generation. Throws RegionError: "PATH: reason".
ViewSnapshot read_view_file(const std::filesystem::path& path);

// Mode and owner of a new view, and of one that is to be changed (`now`). Throws RegionError for
// what would keep the writer from its own file, or let its owner write it. `followed`: the view is
// not numbers alone, and its owner could end the following by truncating it.
mode_t settled_mode(const FileFields& file, const ViewSnapshot* now, bool followed);
// Throws RegionError.
void change_file(const std::filesystem::path& path, const FileFields& file, mode_t mode);

// Makes the directory if need be; written under a temporary name, then given its own. Throws
// RegionError.
void write_json_file(const std::filesystem::path& path, const nlohmann::json& json);
// At most 16 KiB, parsed strictly. Throws RegionError.
nlohmann::json read_json_file(const std::filesystem::path& path);

// 32 lower-case hexadecimal digits.
std::string hex(const Id& id);

}  // namespace clockpage::producer
