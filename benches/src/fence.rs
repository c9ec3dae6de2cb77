#![expect(unsafe_code, reason = "the instruction is reached in no other way")]

/// Waits until every instruction before it is done.
///
/// In a tight loop a processor works on several operations at once, as long as one does not need
/// what another gives: their waits for memory overlap. In a service, thousands of instructions lie
/// between two of them, and each wait is felt. A loop with this call between the operations
/// measures the latter. It costs some nanoseconds itself; let a contestant that does nothing else
/// show how many.
///
/// `lfence` on x86-64. Elsewhere a sequentially consistent fence, which a processor may run ahead
/// of.
#[inline]
pub fn wait_for_all() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `lfence` is part of SSE2, which every x86-64 processor has; it touches no memory.
    unsafe {
        std::arch::x86_64::_mm_lfence();
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}
