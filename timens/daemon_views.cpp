// SPDX-License-Identifier: MIT
#include "daemon_views.hpp"

#include <clockpage/clockpage.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "control_client.hpp"

namespace clockpage::timens {
namespace {

namespace filesystem = std::filesystem;
using nlohmann::json;

constexpr int kNamesTried = 100;

json request(const char* command, const std::string& name) {
  return {{"command", command}, {"name", name}};
}

// What the daemon says of a view: another process's words.
ViewFacts facts_of(const json& answer) {
  try {
    const json& view = answer.at("view");
    ViewFacts facts;
    facts.name = view.at("name").get<std::string>();
    facts.path = view.at("path").get<std::string>();
    facts.smeared = view.at("smeared").get<bool>();
    const json& source = view.at("source");
    if (source.at("kind") == "parent" && source.contains("parent_view"))
      facts.parent_path = source.at("parent_view").get<std::string>();
    else if (source.at("kind") == "parent")
      facts.parent = source.at("parent").get<std::string>();
    return facts;
  } catch (const std::exception& error) {
    throw std::runtime_error(std::string("the daemon's answer is not understood: ") + error.what());
  }
}

ViewFacts show_view(const std::string& directory, const std::string& name) {
  return facts_of(ask(directory, request("view.show", name)));
}

filesystem::path view_path(const std::string& directory, const std::string& name) {
  return filesystem::path(directory) / "views" / name;
}

bool is_taken(const std::string& directory, const std::string& name) {
  std::error_code ignored;
  return filesystem::exists(view_path(directory, name), ignored);
}

std::string free_name(const std::string& directory) {
  const std::string first = fmt::format("timens-{}", getpid());
  std::string name = first;
  for (int number = 2; number < kNamesTried && is_taken(directory, name); number++)
    name = fmt::format("{}.{}", first, number);
  return name;
}

}  // namespace

bool outer_view_is_smeared(const std::string& directory) {
  const char* variable = std::getenv(CLOCKPAGE_VIEW_VARIABLE);
  if (variable == nullptr || *variable == '\0') return false;
  const filesystem::path path = variable;
  std::error_code error;
  if (!filesystem::equivalent(path, view_path(directory, path.filename()), error))
    throw std::runtime_error(fmt::format(
        "${} is {}, which is no view of the daemon of {}: whether it is smeared, as the new view "
        "is to be then, is not known (--smeared or --unsmeared says it)",
        CLOCKPAGE_VIEW_VARIABLE, path.string(), directory));
  return show_view(directory, path.filename()).smeared;
}

ViewFacts add_view(const std::string& directory, const std::string& name,
                   const TimensOffsets& offsets, bool smeared) {
  json wanted = request("view.add", name.empty() ? free_name(directory) : name);
  wanted["smeared"] = smeared;
  wanted["monotonic_offset_ns"] = offsets.monotonic_ns;
  wanted["boottime_offset_ns"] = offsets.boottime_ns;
  return facts_of(ask(directory, wanted));
}

std::vector<std::string> ancestors_of(const std::string& directory, const ViewFacts& view) {
  std::vector<std::string> paths;
  ViewFacts facts = view;
  while (facts.parent && paths.size() < CLOCKPAGE_VIEW_MAX_ANCESTORS) {
    facts = show_view(directory, *facts.parent);
    paths.push_back(facts.path);
  }
  if (facts.parent_path) paths.push_back(*facts.parent_path);
  return paths;
}

void remove_view(const std::string& directory, const std::string& name) {
  json wish = request("view.remove", name);
  wish["keep"] = true;  // for what the command has left running
  ask(directory, wish);
}

}  // namespace clockpage::timens
