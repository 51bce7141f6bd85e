/* SPDX-License-Identifier: MIT */
/*
 * For a VMM: how its guest's counter comes of the host's, from the vCPUs' descriptors. C11, C++.
 *
 * It is what a view page says (spec 3.7) and `clockpage view add --tsc-offset --tsc-ratio` takes:
 *
 *	guest's counter = ((host's counter * ratio) >> frac_bits) + offset
 *
 * Who owns the descriptors knows it best: what KVM's debugfs files tell is the guest of a guest's
 * as long as one runs (arch/x86/kvm/debugfs.c); these functions tell the guest's own in any case.
 */
#ifndef CLOCKPAGE_KVM_H
#define CLOCKPAGE_KVM_H

#include <clockpage/clockpage.h>

#ifdef __cplusplus
extern "C" {
#endif

struct clockpage_counter_relation {
	int64_t offset;    /* ticks of the guest's counter; wraps */
	uint64_t ratio;    /* never 0; 1 where frac_bits is 0 */
	uint8_t frac_bits; /* 0: ratio one; 32 (SVM) or 48 (VMX) */
	uint8_t reserved0[7];
};

/* What KVM makes of a guest's frequency on this host. */
struct clockpage_kvm_host {
	uint32_t tsc_khz; /* the host's counter, as the kernel (tsc_khz) has it */
	/* A guest's frequency within that of the host's is not scaled: module kvm's parameter
	 * tsc_tolerance_ppm. */
	uint32_t tolerance_ppm;
	uint8_t frac_bits; /* 48 (VMX), 32 (SVM); 0: this CPU, or KVM here, scales no counter */
	uint8_t reserved0[7];
};

#define CLOCKPAGE_KVM_TOLERANCE_PPM 250 /* the kernel's own default */

/* The ratio that KVM uses for a guest of guest_khz on this host, as arch/x86/kvm/x86.c has it
 * (kvm_set_tsc_khz, set_tsc_khz): (1 << frac_bits) * guest_khz / tsc_khz, rounded down; exactly one
 * where the two differ by no more than the tolerance. Fills out->ratio and out->frac_bits, and
 * leaves the offset alone. Returns 0; CLOCKPAGE_E_ARGUMENT (null, no frequency, frac_bits other
 * than 0, 32 and 48); CLOCKPAGE_E_VIEW: KVM cannot do it by a ratio (it would refuse, or, where
 * there is no scaling and the guest's counter is the faster one, set the counter forward now and
 * then). */
static inline int clockpage_kvm_scale(const struct clockpage_kvm_host *host, uint32_t guest_khz,
				      struct clockpage_counter_relation *out)
{
	uint64_t khz, low, high, limit;
	clockpage_u128 ratio;
	if (!host || !out || !host->tsc_khz || !guest_khz || host->tolerance_ppm > 1000000 ||
	    (host->frac_bits != 0 && host->frac_bits != 32 && host->frac_bits != 48))
		return CLOCKPAGE_E_ARGUMENT;
	khz = host->tsc_khz;
	low = khz * (1000000 - host->tolerance_ppm) / 1000000;
	high = khz * (1000000 + host->tolerance_ppm) / 1000000;
	out->ratio = 1;
	out->frac_bits = 0;
	if (guest_khz >= low && guest_khz <= high)
		return CLOCKPAGE_OK;
	if (!host->frac_bits)
		return CLOCKPAGE_E_VIEW;
	/* VMX has 64 bits of multiplier, SVM 8 before the point. */
	limit = host->frac_bits == 32 ? ((uint64_t)1 << 40) - 1 : UINT64_MAX;
	ratio = ((clockpage_u128)guest_khz << host->frac_bits) / khz;
	if (!ratio || ratio >= limit)
		return CLOCKPAGE_E_VIEW;
	out->ratio = (uint64_t)ratio;
	out->frac_bits = host->frac_bits;
	return CLOCKPAGE_OK;
}

/* Asks /dev/kvm (an open descriptor of it) for *host: makes a virtual machine for that, and ends it
 * again. Once for a program's life will do. Returns 0, CLOCKPAGE_E_ARGUMENT, CLOCKPAGE_E_SYSTEM
 * (error->saved_errno; ENOSYS: not on this architecture); error may be NULL. */
CLOCKPAGE_EXPORT int clockpage_kvm_host_of(int kvm_fd, struct clockpage_kvm_host *host,
					   struct clockpage_open_error *error);

/* The relation of the guest with these vCPUs, all of them: KVM_VCPU_TSC_OFFSET and KVM_GET_TSC_KHZ
 * of each. To be called while none of them is in KVM_RUN: KVM lets the call wait for that
 * otherwise, and the answer may be out of date at once. Linux 5.16 or later.
 *
 * Returns 0; CLOCKPAGE_E_ARGUMENT (null, no vCPU); CLOCKPAGE_E_SYSTEM (error->saved_errno: EBADF,
 * ENOTTY: not a vCPU's descriptor, ENXIO: this kernel does not tell the offset); CLOCKPAGE_E_VIEW:
 * there is no one relation, as two vCPUs disagree (error->where says which), or clockpage_kvm_scale
 * cannot say what KVM did. *out is written only with 0; error may be NULL. */
CLOCKPAGE_EXPORT int clockpage_kvm_relation(const int *vcpu_fds, size_t vcpu_count,
					    const struct clockpage_kvm_host *host,
					    struct clockpage_counter_relation *out,
					    struct clockpage_open_error *error);

#ifdef __cplusplus
}
#endif

#endif /* CLOCKPAGE_KVM_H */
