# Leap seconds: the arithmetic of smears. Included by consumer/CMakeLists.txt.
add_library(clockpage_leap STATIC ${CMAKE_CURRENT_LIST_DIR}/smear.cpp)
target_include_directories(clockpage_leap PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(clockpage_leap PUBLIC clockpage_headers)

if(BUILD_TESTING)
  clockpage_add_test(smear_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/smear_test.cpp
                     LIBRARIES clockpage_leap)
endif()
