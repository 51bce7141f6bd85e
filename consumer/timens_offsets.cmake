# What /proc/PID/timens_offsets says. Included by consumer/CMakeLists.txt.
add_library(clockpage_timens_offsets STATIC ${CMAKE_CURRENT_LIST_DIR}/timens_offsets.cpp)
target_include_directories(clockpage_timens_offsets PUBLIC ${CMAKE_CURRENT_LIST_DIR})

if(BUILD_TESTING)
  clockpage_add_test(timens_offsets_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/timens_offsets_test.cpp
                     LIBRARIES clockpage_timens_offsets)
endif()
