# What `cmake --install` installs: programs, libclockpage, headers, and the two ways for other
# projects to find them (find_package(clockpage), pkg-config clockpage).
include(CMakePackageConfigHelpers)

set(clockpage_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/clockpage)

# The targets are named for this build; others see clockpage::clockpage (the library, and the
# headers with it), clockpage::headers (header only) and clockpage::abi.
set_target_properties(clockpage_abi PROPERTIES EXPORT_NAME abi)
set_target_properties(clockpage_headers PROPERTIES EXPORT_NAME headers)
install(TARGETS clockpage_abi clockpage_headers libclockpage EXPORT clockpage_targets
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT clockpage_targets NAMESPACE clockpage:: DESTINATION ${clockpage_cmake_dir}
        FILE clockpage-targets.cmake)
configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/clockpage-config.cmake.in ${CMAKE_BINARY_DIR}/clockpage-config.cmake
  INSTALL_DESTINATION ${clockpage_cmake_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/clockpage-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/clockpage-config.cmake
              ${CMAKE_BINARY_DIR}/clockpage-config-version.cmake
        DESTINATION ${clockpage_cmake_dir})

# The prefix in it is relative to the file itself, so the tree may be moved. Distributions
# install with absolute directories: then it is those.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR} OR IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
  set(clockpage_pc_prefix ${CMAKE_INSTALL_PREFIX})
  set(clockpage_pc_libdir ${CMAKE_INSTALL_FULL_LIBDIR})
  set(clockpage_pc_includedir ${CMAKE_INSTALL_FULL_INCLUDEDIR})
else()
  file(RELATIVE_PATH clockpage_up /root/${CMAKE_INSTALL_LIBDIR}/pkgconfig /root)
  string(REGEX REPLACE "/$" "" clockpage_up ${clockpage_up})
  set(clockpage_pc_prefix "\${pcfiledir}/${clockpage_up}")
  set(clockpage_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(clockpage_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/clockpage.pc.in ${CMAKE_BINARY_DIR}/clockpage.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/clockpage.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
# Beside libclockpage: `clockpage run` looks for it there.
install(TARGETS clockpage_preload LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})

install(DIRECTORY ${PROJECT_SOURCE_DIR}/abi/include/clockpage
                  ${PROJECT_SOURCE_DIR}/consumer/include/clockpage
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSES/GPL-2.0.txt DESTINATION ${CMAKE_INSTALL_DOCDIR}/LICENSES)

# The programs find libclockpage from where they are.
file(RELATIVE_PATH clockpage_up /root/${CMAKE_INSTALL_BINDIR} /root/${CMAKE_INSTALL_LIBDIR})
set_target_properties(clockpaged clockpage_tool clockpage_timens PROPERTIES INSTALL_RPATH "$ORIGIN/${clockpage_up}")
install(TARGETS clockpaged clockpage_tool clockpage_timens RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
