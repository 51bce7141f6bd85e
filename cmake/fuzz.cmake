# One fuzz target per foo_fuzz.cpp:
#   clockpage_add_fuzz(foo_fuzz SOURCES ... LIBRARIES ... SEEDS file... MAX_LENGTH bytes)
# With CLOCKPAGE_FUZZ it is run by libFuzzer (./dev fuzz); without, it is the test foo_fuzz_corpus,
# which replays tests/corpus/foo_fuzz and the seeds.
if(CLOCKPAGE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_custom_target(fuzz_targets)
endif()

function(clockpage_add_fuzz name)
  # The corpora are replayed by the native build alone.
  if(CMAKE_CROSSCOMPILING OR (NOT BUILD_TESTING AND NOT CLOCKPAGE_FUZZ))
    return()
  endif()
  cmake_parse_arguments(ARG "" "MAX_LENGTH" "SOURCES;LIBRARIES;SEEDS" ${ARGN})
  set(corpus ${PROJECT_SOURCE_DIR}/tests/corpus/${name})
  add_executable(${name} ${name}.cpp ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES})
  if(CLOCKPAGE_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzz_targets ${name})
    # What ./dev fuzz hands to it.
    list(JOIN ARG_SEEDS "," seeds)
    file(WRITE ${CMAKE_BINARY_DIR}/targets/${name} "-max_len=${ARG_MAX_LENGTH}\n")
    if(seeds)
      file(APPEND ${CMAKE_BINARY_DIR}/targets/${name} "-seed_inputs=${seeds}\n")
    endif()
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz_replay.cpp)
    add_test(NAME ${name}_corpus COMMAND ${name} ${corpus} ${ARG_SEEDS})
    set_tests_properties(${name}_corpus PROPERTIES TIMEOUT 300 LABELS "unit;fuzz")
  endif()
endfunction()
