// SPDX-License-Identifier: MIT
//
// Inside libclockpage: a view and its ancestors, mapped.
#ifndef CLOCKPAGE_OPENED_VIEW_HPP
#define CLOCKPAGE_OPENED_VIEW_HPP

#include <clockpage/clockpage.h>

#include <array>
#include <boost/interprocess/mapped_region.hpp>
#include <string>

#include "open_options.hpp"

namespace clockpage::detail {

struct opened_view {
  boost::interprocess::mapped_region view;
  std::array<boost::interprocess::mapped_region, CLOCKPAGE_VIEW_MAX_ANCESTORS> ancestors;
  clockpage_view_reader reader;

  clockpage_view_slot slot;  // the newest one when it was mapped

  // Opens, maps and validates what `request` names, as views of the region with this valid
  // directory page. `name`: set to the file that an error is about. Returns 0 or as clockpage_open.
  int map(const open_request& request, const clockpage_directory_page& directory, std::string& name,
          clockpage_open_error& error);

  // Fills `reader`, once they are mapped and so is the region. Returns 0 or as clockpage_open.
  int make_reader(const open_request& request, const boost::interprocess::mapped_region& region,
                  clockpage_open_error& error);

  // Refuses, with CLOCKPAGE_E_VIEW, a view that is not the one of the time namespace that this
  // process is in, on the region's own kernel. Once there is `reader`.
  int check_kernels_view(clockpage_open_error& error) const;
};

// A page's own reader can stand for a view only if a guest's counter *is* the counter of the page
// it names, and if it shifts no clock. Else CLOCKPAGE_E_VIEW.
int check_page_reader(const clockpage_view_slot& slot, const clockpage_data_page& page,
                      clockpage_open_error& error);

}  // namespace clockpage::detail

#endif  // CLOCKPAGE_OPENED_VIEW_HPP
