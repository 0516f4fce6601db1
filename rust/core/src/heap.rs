//! The C library's allocator, told what a server's blocks are like. Knows nothing of what is in them.

/// As large as bodies ordinarily are while they are held in one piece.
const ORDINARY: usize = 1024 * 1024;

/// Makes the allocator keep the memory of large blocks for the next ones.
///
/// glibc takes blocks of 128 KiB and more from the kernel one by one, and gives back what is free at the end of the
/// heap beyond that size. For a body of 100 KB that means pages that are faulted in and zeroed, for each request anew.
/// Freeing one larger block moves the first limit to its size, and the second to twice that (mallopt(3), "dynamic mmap
/// threshold"), which bounds what is kept. Other allocators are not changed by a block that comes and goes, nor is
/// glibc where `MALLOC_MMAP_THRESHOLD_` or its like is set.
pub(crate) fn keep_ordinary_blocks() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(ORDINARY)));
}
