//! Memory that a process shares with the children that it clones.

use std::sync::atomic::{AtomicI32, AtomicU8};

use nix::errno::Errno;

/// Two pages of shared memory: the first for a child and its parent alone, the second also for the
/// children of that child.
#[derive(Debug)]
pub struct Shared {
    first: &'static [AtomicI32],
    second: &'static [AtomicI32],
}

impl Shared {
    /// Maps both pages, all zero, mmap(2). They stay mapped until the process ends.
    pub fn map() -> nix::Result<Shared> {
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?
            .and_then(|page| usize::try_from(page).ok())
            .ok_or(Errno::EINVAL)?;
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), 2 * page, access, kind, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let words = 2 * page / size_of::<AtomicI32>();
        // SAFETY: both pages are mapped, zero, aligned, and never unmapped; all access to them, in
        // other processes as well, is atomic.
        let words = unsafe { std::slice::from_raw_parts(base.cast::<AtomicI32>(), words) };
        let (first, second) = words.split_at(words.len() / 2);
        Ok(Shared { first, second })
    }

    /// Withholds the first page from children that are cloned from now on, madvise(2)
    /// MADV_DONTFORK. Access by such a child is a SIGSEGV.
    pub fn keep_first_from_children(&self) -> nix::Result<()> {
        let address = self.first.as_ptr().cast_mut().cast();
        // SAFETY: the page is ours and stays mapped here; only what a clone copies changes.
        Errno::result(unsafe {
            libc::madvise(address, size_of_val(self.first), libc::MADV_DONTFORK)
        })
        .map(drop)
    }

    /// Returns the number at the end of the first page, which [`Shared::first`] leaves out.
    pub fn last_of_first(&self) -> &AtomicI32 {
        &self.first[self.first.len() - 1]
    }

    pub fn first(&self) -> &[AtomicU8] {
        let words = &self.first[..self.first.len() - 1];
        // SAFETY: the bytes of words that are borrowed as long; atomic bytes need no alignment and
        // have every bit pattern. A word among them is never used as one.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
    }

    pub fn second(&self) -> [&AtomicI32; 2] {
        [&self.second[0], &self.second[1]]
    }
}
