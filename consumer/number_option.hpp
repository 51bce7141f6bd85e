// SPDX-License-Identifier: MIT
//
// For programs, not for libclockpage: options that are numbers.
#ifndef CLOCKPAGE_NUMBER_OPTION_HPP
#define CLOCKPAGE_NUMBER_OPTION_HPP

#include <CLI/CLI.hpp>
#include <string>

namespace clockpage {

// As CLI::Range, which lets "nan" pass: it is neither below nor above anything.
inline CLI::Validator number_within(double low, double high) {
  const CLI::Range range(low, high);
  return {[low, high, range](std::string& text) {
            double value = 0;
            if (CLI::detail::lexical_cast(text, value) && value >= low && value <= high)
              return std::string();
            const std::string why = range(text);
            return why.empty() ? "Value " + text + " is not a number" : why;
          },
          range.get_description()};
}

}  // namespace clockpage

#endif  // CLOCKPAGE_NUMBER_OPTION_HPP
