# What a cross build takes from this machine in place of find_package: header-only libraries and
# GoogleTest's source. /usr/include itself must not be searched: it has another C library's headers.
set(clockpage_lent ${CMAKE_BINARY_DIR}/headers)
file(MAKE_DIRECTORY ${clockpage_lent})
foreach(header boost CLI fmt nlohmann)
  if(NOT EXISTS /usr/include/${header})
    message(FATAL_ERROR "/usr/include/${header} is missing: install the packages that ./dev names")
  endif()
  file(CREATE_LINK /usr/include/${header} ${clockpage_lent}/${header} SYMBOLIC)
endforeach()
foreach(library Boost::headers CLI11::CLI11 fmt::fmt nlohmann_json::nlohmann_json)
  add_library(${library} INTERFACE IMPORTED)
  target_include_directories(${library} SYSTEM INTERFACE ${clockpage_lent})
endforeach()
target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY)

if(BUILD_TESTING)
  set(INSTALL_GTEST OFF)
  set(BUILD_GMOCK OFF)
  set(GOOGLETEST_VERSION 1.12.1) # bookworm's
  add_subdirectory(/usr/src/googletest/googletest ${CMAKE_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
endif()
