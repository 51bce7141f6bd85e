# The reader's tests, and its two benchmarks.
find_package(Threads REQUIRED)

clockpage_add_test(reader_test SOURCES reader_test.cpp reader_leap_test.cpp
                   LIBRARIES clockpage_headers Threads::Threads TIMEOUT 300)
clockpage_add_test(reader_random_test SOURCES reader_random_test.cpp
                   LIBRARIES clockpage_headers TIMEOUT 300)
clockpage_add_test(reader_torn_read_test SOURCES reader_torn_read_test.cpp
                   LIBRARIES clockpage_headers Threads::Threads TIMEOUT 300)
clockpage_add_test(view_test SOURCES view_test.cpp LIBRARIES clockpage_headers)
clockpage_add_test(view_interleaved_test SOURCES view_interleaved_test.cpp
                   LIBRARIES clockpage_headers)
clockpage_add_test(view_nested_test SOURCES view_nested_test.cpp LIBRARIES clockpage_headers)
clockpage_add_test(view_nested_interleaved_test SOURCES view_nested_interleaved_test.cpp
                   LIBRARIES clockpage_headers)
clockpage_add_test(view_nested_torn_read_test SOURCES view_nested_torn_read_test.cpp
                   LIBRARIES clockpage_headers Threads::Threads TIMEOUT 300)
clockpage_add_test(view_torn_read_test SOURCES view_torn_read_test.cpp
                   LIBRARIES clockpage_headers Threads::Threads TIMEOUT 300)

if(CLOCKPAGE_BENCHMARKS)
  add_executable(reader_benchmark reader_benchmark.cpp)
  target_link_libraries(reader_benchmark PRIVATE clockpage_headers benchmark::benchmark_main)
  add_executable(reader_ratios reader_ratios.cpp)
  target_link_libraries(reader_ratios PRIVATE clockpage_headers clockpage_leap CLI11::CLI11
                        nlohmann_json::nlohmann_json)
endif()
