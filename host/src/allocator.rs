//! How the C library's allocator treats large buffers.
//!
//! Left alone, glibc takes each large allocation from the kernel until the first is freed; from then on it puts
//! buffers of up to that size, at most 32 MiB, between the small ones, where they leave holes that nothing else fits
//! into. The process then holds twice what is in use. With a fixed border, what is larger goes back to the kernel as
//! soon as it is freed.

/// Buffers of this size and larger are taken from the kernel and given back to it. Ordinary blocks and request bodies
/// are smaller, so that they are reused without clearing pages.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 4 << 20;

/// How much may be free at the top of a heap before it is given back: what glibc would make of [`LARGE`] by itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_FREE: i32 = 2 * LARGE;

/// Keeps large buffers apart from small ones. To be called once, before there are threads. With another C library it
/// does nothing.
pub fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (option, bytes) in [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, KEPT_FREE)] {
        // A refusal would leave the allocator as it is, which costs memory and nothing else.
        #[expect(unsafe_code, reason = "the C library has no other interface for it")]
        // SAFETY: `mallopt` takes two integers and changes settings of the allocator under its own lock.
        let _ = unsafe { libc::mallopt(option, bytes) };
    }
}
