# The C and C++ readers over the golden vectors, and over pages whose writer means harm.
add_executable(vectors_c_test vectors_c_test.c)
target_link_libraries(vectors_c_test PRIVATE clockpage_headers)
add_test(NAME spec_vectors_c_reader COMMAND vectors_c_test ${SPEC_VECTORS})
add_test(NAME spec_vectors_check_bites
         COMMAND ${SPEC_PYTHON} ${SPEC_DIR}/vectors_bite_test.py
                 ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:vectors_c_test>)

# The same for views, from C and from C++.
add_executable(view_vectors_test view_vectors_test.c)
target_link_libraries(view_vectors_test PRIVATE clockpage_headers)
add_test(NAME spec_view_vectors_c_reader COMMAND view_vectors_test ${SPEC_VECTORS})
add_executable(view_vectors_cpp_test view_vectors_test.cpp)
target_link_libraries(view_vectors_cpp_test PRIVATE clockpage_headers)
add_test(NAME spec_view_vectors_cpp_reader COMMAND view_vectors_cpp_test ${SPEC_VECTORS})
add_test(NAME spec_view_vectors_check_bites
         COMMAND ${SPEC_PYTHON} ${SPEC_DIR}/view_vectors_bite_test.py
                 ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:view_vectors_test>)

add_executable(hostile_pages_test hostile_pages_test.c)
target_link_libraries(hostile_pages_test PRIVATE clockpage_headers)
add_test(NAME spec_hostile_pages COMMAND hostile_pages_test)

set_tests_properties(spec_vectors_c_reader spec_vectors_check_bites spec_hostile_pages
                     spec_view_vectors_c_reader spec_view_vectors_cpp_reader spec_view_vectors_check_bites
                     PROPERTIES TIMEOUT 120 LABELS "unit")

clockpage_add_test(vectors_cpp_test SOURCES vectors_cpp_test.cpp LIBRARIES clockpage::clockpage)
target_compile_definitions(vectors_cpp_test PRIVATE CLOCKPAGE_VECTORS_DIR="${SPEC_VECTORS}")

# The same for timestamps.
add_executable(timestamps_test timestamps_test.c)
target_link_libraries(timestamps_test PRIVATE clockpage_headers)
add_test(NAME spec_timestamps_c_reader COMMAND timestamps_test ${SPEC_DIR}/timestamps)
add_test(NAME spec_timestamps_check_bites
         COMMAND ${SPEC_PYTHON} ${SPEC_DIR}/timestamps_bite_test.py
                 ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:timestamps_test>)
set_tests_properties(spec_timestamps_c_reader spec_timestamps_check_bites
                     PROPERTIES TIMEOUT 120 LABELS "unit")
