# The one evaluation of the kernel's own clock mapping. Included by consumer/CMakeLists.txt.
add_library(clockpage_kernel_clock STATIC ${CMAKE_CURRENT_LIST_DIR}/kernel_clock.cpp)
target_include_directories(clockpage_kernel_clock PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(clockpage_kernel_clock PUBLIC clockpage_headers)
# It ends up in shared objects too.
set_target_properties(clockpage_kernel_clock PROPERTIES POSITION_INDEPENDENT_CODE ON)

if(BUILD_TESTING)
  clockpage_add_test(kernel_clock_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/kernel_clock_test.cpp
                     LIBRARIES clockpage_kernel_clock)
endif()
clockpage_add_fuzz(kernel_clock_fuzz LIBRARIES clockpage_kernel_clock MAX_LENGTH 700)
