// SPDX-License-Identifier: MIT
// The golden views over clockpage/view.h as C++.
#include "view_vectors_test.c"  // NOLINT(bugprone-suspicious-include)
