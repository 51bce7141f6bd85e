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

// The same, and back to what it was (`now`) when this ends, unless it is to be kept.
class FileChange {
 public:
  FileChange(std::filesystem::path path, const FileFields& file, mode_t mode,
             const ViewSnapshot& now);
  ~FileChange();
  FileChange(const FileChange&) = delete;
  FileChange& operator=(const FileChange&) = delete;
  void keep() noexcept { undo_ = false; }

 private:
  void undo() const noexcept;
  std::filesystem::path path_;
  FileFields before_;
  bool undo_;
};

// Whether there is a file that we could write, whatever is in it.
bool can_be_written(const std::filesystem::path& path);

// Nothing, or a directory in which nobody makes files but root and ourselves. Throws RegionError.
void check_own_directory(const std::filesystem::path& path);

// What of a state is not as by default, and its format.
ViewFields fields_of_state(const ViewState& state);

// Makes the directory if need be; written under a temporary name, then given its own. Throws
// RegionError.
void write_json_file(const std::filesystem::path& path, const nlohmann::json& json);
// At most 16 KiB, parsed strictly. Throws RegionError.
nlohmann::json read_json_file(const std::filesystem::path& path);

// 32 lower-case hexadecimal digits.
std::string hex(const Id& id);

}  // namespace clockpage::producer
