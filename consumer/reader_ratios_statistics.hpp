// SPDX-License-Identifier: MIT
// reader_ratios: medians and quartiles over the rounds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace clockpage::ratios {

struct Quartiles {
  double q1, median, q3;
};

inline Quartiles QuartilesOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return {values[n / 4], values[n / 2], values[n * 3 / 4]};
}

inline nlohmann::json ToJson(const Quartiles& q) {
  return {{"q1", q.q1}, {"median", q.median}, {"q3", q.q3}};
}

// ns[candidate][round]
using Samples = std::vector<std::vector<double>>;

inline Quartiles Ratio(const Samples& ns, std::size_t candidate, std::size_t base) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < ns[candidate].size(); round++)
    ratios.push_back(ns[candidate][round] / ns[base][round]);
  return QuartilesOf(std::move(ratios));
}

// In ns.
inline Quartiles Extra(const Samples& ns, std::size_t candidate, std::size_t base) {
  std::vector<double> extra;
  for (std::size_t round = 0; round < ns[candidate].size(); round++)
    extra.push_back(ns[candidate][round] - ns[base][round]);
  return QuartilesOf(std::move(extra));
}

}  // namespace clockpage::ratios
