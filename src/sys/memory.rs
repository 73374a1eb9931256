//! Memory that is there before the kernel copies a request into it.
//!
//! When a process is killed while a read of `/dev/fuse` waits for a page of its buffer, the copy fails,
//! and the kernel does not keep the request for the next server: it answers EIO (fuse_dev_do_read).
//! With the pages in place the copy takes no fault, and a request is either not read or read whole.
//! fuser allocates its buffers itself, zeroed and by far larger than all else, so they are met here.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, but for buffers of requests.
#[derive(Debug)]
pub struct Prefaulting;

/// No other allocation of zeroes is as large (fuser 0.18: MAX_WRITE_SIZE and a page).
const REQUEST_BUFFER: usize = 16 << 20;
/// The largest request: 256 pages (FUSE_MAX_MAX_PAGES until Linux 6.12, and its default since), the
/// header, and what alignment skips.
const LARGEST_REQUEST: usize = (1 << 20) + (16 << 10);
const SMALLEST_PAGE: usize = 4 << 10;

// SAFETY: System keeps the contract; all that is added is to touch pages of an allocation that
// succeeded and is larger than what is touched.
#[expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]
unsafe impl GlobalAlloc for Prefaulting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that System asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; all memory came from System.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if layout.size() >= REQUEST_BUFFER && !memory.is_null() {
            for at in (0..LARGEST_REQUEST).step_by(SMALLEST_PAGE) {
                // SAFETY: within the allocation, which is larger; the byte is zero and stays so. The
                // write cannot be left out: it is what makes the page.
                unsafe { memory.add(at).write_volatile(0) };
            }
        }
        memory
    }
}
