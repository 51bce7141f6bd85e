# Timestamps and waiting: headers only.
if(BUILD_TESTING)
  clockpage_add_test(timestamp_test SOURCES timestamp_test.cpp LIBRARIES clockpage_headers)
  # Emulated, each wait takes seconds instead of milliseconds. Why is not known yet.
  if(NOT CMAKE_CROSSCOMPILING)
    clockpage_add_test(wait_test SOURCES wait_test.cpp LIBRARIES clockpage_headers Threads::Threads)
  endif()
endif()
