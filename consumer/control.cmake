# Asking clockpaged: for programs.
add_library(clockpage_control STATIC control_client.cpp)
target_include_directories(clockpage_control PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(clockpage_control PUBLIC clockpage_headers nlohmann_json::nlohmann_json)
