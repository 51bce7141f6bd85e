// SPDX-License-Identifier: MIT
#include "view_commands.hpp"

#include <algorithm>
#include <exception>

namespace clockpage::producer {

namespace {

using Json = nlohmann::json;

// What is not UTF-8 in it (file names may be anything) becomes U+FFFD.
std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json carry_out(ViewRegistry& views, const ViewRequest& request) {
  Json answer{{"ok", true}};
  if (request.command == "view.add")
    answer["view"] = views.add(request.name, request.view, request.file);
  if (request.command == "view.set")
    answer["view"] = views.set(request.name, request.view, request.file);
  if (request.command == "view.remove") views.remove(request.name, request.keep);
  if (request.command == "view.show") answer["view"] = views.show(request.name);
  if (request.command == "view.save") answer["saved"] = views.save(request.name);
  if (request.command == "view.restore")
    answer.update(views.restore(request.name, request.restore, request.file));
  if (request.command == "view.list") answer["views"] = views.list();
  return answer;
}

}  // namespace

std::string refusal(const std::string& reason) {
  std::string line = reason;
  std::replace_if(
      line.begin(), line.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return dumped({{"ok", false}, {"error", line}});
}

std::string answer_request(ViewRegistry& views, std::string_view line) {
  try {
    return dumped(carry_out(views, parse_request(line)));
  } catch (const std::exception& e) {
    return refusal(e.what());
  }
}

}  // namespace clockpage::producer
