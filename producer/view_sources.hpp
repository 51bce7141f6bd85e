// SPDX-License-Identifier: MIT
// What a view is made from where that is more than numbers given by hand.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "view_page.hpp"
#include "view_request.hpp"

namespace clockpage::producer {

class ViewRegistry;

// One step from the numbers given by hand to what the view asks for. Asked once a second, and
// whenever something that it may depend on has changed.
class ViewSource {
 public:
  virtual ~ViewSource() = default;
  // Changes what the sources before this one have left; the first gets the numbers given by hand.
  // Throws RegionError if the relation cannot be said at this moment: the view is then not made, or
  // withdrawn until it can.
  virtual void apply(ViewState& state, const ViewRegistry& views) = 0;
  // Why what apply() has left last may not be so any more: it is what held before. An empty reason:
  // none.
  struct Doubt {
    std::string reason{};
    bool lasts = false;  // for as long as somebody likes: worth a line
  };
  [[nodiscard]] virtual Doubt doubt() const { return {}; }
  // {"kind": "...", ...} for answers.
  [[nodiscard]] virtual nlohmann::json json() const = 0;
  // An object of what it has to know again after a restart, beside the fields; its keys are its
  // own.
  [[nodiscard]] virtual nlohmann::json memory() const { return nlohmann::json::object(); }
};

using ViewSources = std::vector<std::unique_ptr<ViewSource>>;
// With what its sources remember, if it was made before: their memory(), all in one, and "relation"
// (offset, ratio, frac_bits): what the view says, unless it is withdrawn. Else null.
using MakeViewSources = std::function<ViewSources(const ViewFields&, const nlohmann::json& memory)>;

// In the order in which they apply; none: numbers alone. Throws RegionError if the fields
// contradict each other, or name what does not exist. `kvm_debugfs`: where KVM's debugfs files are.
ViewSources make_view_sources(const ViewFields& fields, const nlohmann::json& memory,
                              const std::filesystem::path& kvm_debugfs);

}  // namespace clockpage::producer
