//! Whether AMX can be used: by the processor, by the system, by this process.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::is_x86_feature_detected;
use std::sync::OnceLock;

/// Whether AMX can be used. The first call asks, and all others have its answer.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| processor_has_amx() && system_saves_tiles() && system_permits_tiles())
}

/// Whether the processor has tiles and their products of bf16.
fn processor_has_amx() -> bool {
    const AMX: u32 = 1 << 22 | 1 << 24;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & AMX == AMX
}

/// Whether the system saves and restores tiles and their shapes when it switches between threads.
fn system_saves_tiles() -> bool {
    const TILES: u64 = 1 << 17 | 1 << 18;
    /// # Safety
    ///
    /// The machine and the system have XSAVE.
    #[target_feature(enable = "xsave")]
    unsafe fn states() -> u64 {
        // SAFETY: register 0 exists wherever the instruction does.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: `states` is only called where the machine and the system have XSAVE.
    is_x86_feature_detected!("xsave") && unsafe { states() } & TILES == TILES
}

/// Asks the system to let all threads of this process use tiles. Linux grants them on request only, because their state is large.
#[cfg(target_os = "linux")]
fn system_permits_tiles() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let refused: isize;
    // SAFETY: the system call takes two numbers and touches no memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => refused,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    refused == 0
}

/// On other systems the request is not implemented, and AMX is not used.
#[cfg(not(target_os = "linux"))]
fn system_permits_tiles() -> bool {
    false
}
