/* SPDX-License-Identifier: MIT */
/* That clockpage/kvm.h is C11: called by kvm_test.cpp. */
#include <clockpage/kvm.h>

int clockpage_kvm_c_test_scale(uint32_t host_khz, uint32_t guest_khz, uint8_t frac_bits,
                               uint64_t* ratio) {
  struct clockpage_kvm_host host = {
      .tsc_khz = host_khz, .tolerance_ppm = 250, .frac_bits = frac_bits};
  struct clockpage_counter_relation relation = {0};
  int code = clockpage_kvm_scale(&host, guest_khz, &relation);
  *ratio = relation.ratio;
  return code;
}
