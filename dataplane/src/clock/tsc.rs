//! The TSC itself.
#![allow(unsafe_code)]

use core::arch::x86_64::{__cpuid, _mm_lfence, _rdtsc};

use model::time::Cycles;

/// The TSC of this CPU, not ordered against the instructions around it (some 10 ns either way).
#[inline]
pub(crate) fn read() -> Cycles {
    // SAFETY: every x86-64 CPU has the TSC, and Linux lets user code read it unless a process asks
    // for PR_TSC_SIGSEGV, which nothing here does.
    Cycles(unsafe { _rdtsc() })
}

/// The TSC after everything before it in the program, and before everything behind it.
pub(super) fn read_ordered() -> Cycles {
    // SAFETY: SSE2, which `lfence` belongs to, is part of x86-64; for `rdtsc` see `read`.
    unsafe {
        _mm_lfence();
        let tsc = _rdtsc();
        _mm_lfence();
        Cycles(tsc)
    }
}

/// Whether the CPU promises that the TSC keeps its rate in every power state (CPUID 0x8000_0007,
/// EDX bit 8). A hypervisor may hide the promise; without it, time is right only while the host
/// does not change its frequency.
pub fn has_invariant_tsc() -> bool {
    const ADVANCED_POWER: u32 = 0x8000_0007;
    __cpuid(0x8000_0000).eax >= ADVANCED_POWER && __cpuid(ADVANCED_POWER).edx & (1 << 8) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpuid_agrees_with_the_kernel() {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        // The kernel's nonstop_tsc is the same bit.
        assert_eq!(has_invariant_tsc(), cpuinfo.contains("nonstop_tsc"));
    }
}
