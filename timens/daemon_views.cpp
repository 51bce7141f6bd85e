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
    facts.counter_offset = view.at("counter_offset").get<std::int64_t>();
    facts.counter_ratio = view.at("counter_ratio").get<std::uint64_t>();
    facts.counter_frac_bits = view.at("counter_frac_bits").get<std::uint8_t>();
    facts.offsets = {view.at("monotonic_offset_ns").get<std::int64_t>(),
                     view.at("boottime_offset_ns").get<std::int64_t>()};
    facts.smeared = view.at("smeared").get<bool>();
    const json& source = view.at("source");
    if (source.at("kind") == "parent") facts.parent = source.at("parent").get<std::string>();
    if (facts.counter_frac_bits > 63) throw std::runtime_error("counter_frac_bits is out of range");
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

OuterView outer_view(const std::string& directory) {
  const char* variable = std::getenv(CLOCKPAGE_VIEW_VARIABLE);
  if (variable == nullptr || *variable == '\0') return {};
  const filesystem::path path = variable;
  std::error_code error;
  const filesystem::path own = view_path(directory, path.filename());
  if (!filesystem::equivalent(path, own, error))
    throw std::runtime_error(fmt::format(
        "${} is {}, which is no view of the daemon of {}: the namespace's view cannot be composed "
        "from it (--dir names another daemon; env -u {} leaves it out)",
        CLOCKPAGE_VIEW_VARIABLE, path.string(), directory, CLOCKPAGE_VIEW_VARIABLE));
  OuterView outer;
  outer.view = show_view(directory, path.filename());
  if (outer.view->parent) outer.parent = show_view(directory, *outer.view->parent);
  return outer;
}

ViewFacts add_view(const std::string& directory, const std::string& name, const ViewPlan& plan,
                   bool smeared) {
  json wanted = request("view.add", name.empty() ? free_name(directory) : name);
  wanted["smeared"] = smeared;
  wanted["monotonic_offset_ns"] = plan.offsets.monotonic_ns;
  wanted["boottime_offset_ns"] = plan.offsets.boottime_ns;
  if (plan.parent) wanted["parent"] = *plan.parent;
  return facts_of(ask(directory, wanted));
}

std::vector<std::string> ancestors_of(const std::string& directory, const ViewFacts& view) {
  std::vector<std::string> paths;
  for (std::optional<std::string> parent = view.parent;
       parent && paths.size() < CLOCKPAGE_VIEW_MAX_ANCESTORS;) {
    const ViewFacts facts = show_view(directory, *parent);
    paths.push_back(facts.path);
    parent = facts.parent;
  }
  return paths;
}

void remove_view(const std::string& directory, const std::string& name) {
  ask(directory, request("view.remove", name));
}

}  // namespace clockpage::timens
