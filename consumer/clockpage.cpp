// SPDX-License-Identifier: MIT
#include <clockpage/clockpage.h>
