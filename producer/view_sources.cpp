// SPDX-License-Identifier: MIT
#include "view_sources.hpp"

namespace clockpage::producer {

ViewSources make_view_sources(const ViewFields& fields) {
  if (fields.vm_pid || fields.vm_fd)
    throw RegionError("vm_pid: views of a VM cannot be made by this version");
  if (fields.parent) throw RegionError("parent: views of a view cannot be made by this version");
  return {};
}

}  // namespace clockpage::producer
