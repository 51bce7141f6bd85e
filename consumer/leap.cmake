# Leap seconds: their table, the arithmetic of smears, and the time scales that they tell apart.
# Included by consumer/CMakeLists.txt.
add_library(clockpage_leap STATIC
  ${CMAKE_CURRENT_LIST_DIR}/leap_table.cpp ${CMAKE_CURRENT_LIST_DIR}/smear.cpp
  ${CMAKE_CURRENT_LIST_DIR}/time_scales.cpp ${CMAKE_CURRENT_LIST_DIR}/utc_time.cpp)
target_include_directories(clockpage_leap PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(clockpage_leap PUBLIC clockpage_headers PRIVATE Boost::headers fmt::fmt)

if(BUILD_TESTING)
  foreach(test leap_table_test smear_test time_scales_test utc_time_test)
    clockpage_add_test(${test} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.cpp
                       LIBRARIES clockpage_leap)
  endforeach()
endif()
clockpage_add_fuzz(leap_table_fuzz LIBRARIES clockpage_leap Boost::headers MAX_LENGTH 600)
