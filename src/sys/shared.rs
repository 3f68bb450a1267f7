//! Memory that a process shares with the children it clones.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU8};

use super::check;

/// Two pages of shared memory: the first for a child and its parent alone, the second for the
/// children of that child as well.
#[derive(Debug)]
pub struct Shared {
    base: NonNull<u8>,
    page: usize,
}

impl Shared {
    /// Maps both pages, all zero, mmap(2). They stay mapped until the process ends.
    pub fn map() -> nix::Result<Shared> {
        // SAFETY: no pointers.
        let page = check(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })? as usize;
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), 2 * page, access, kind, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(nix::errno::Errno::last());
        }
        let base = NonNull::new(base.cast()).ok_or(nix::errno::Errno::ENOMEM)?;
        Ok(Shared { base, page })
    }

    /// Takes the first page away from children that are cloned from now on, madvise(2)
    /// MADV_DONTFORK. A child that uses it all the same is ended by SIGSEGV.
    pub fn keep_first_from_children(&self) -> nix::Result<()> {
        let address = self.base.as_ptr().cast();
        // SAFETY: the page is ours and stays mapped here; only what a clone copies changes.
        check(unsafe { libc::madvise(address, self.page, libc::MADV_DONTFORK) }.into())?;
        Ok(())
    }

    /// A number at the end of the first page, which [`Shared::first`] does not have.
    pub fn last_of_first(&self) -> &AtomicI32 {
        // SAFETY: as below; the offset is within the page and aligned.
        unsafe { self.base.add(self.page - size_of::<AtomicI32>()).cast().as_ref() }
    }

    /// The first page.
    pub fn first(&self) -> &[AtomicU8] {
        // SAFETY: the page is mapped and never unmapped; other processes change it only byte by
        // byte, as atomics do.
        unsafe {
            std::slice::from_raw_parts(
                self.base.cast().as_ptr(),
                self.page - size_of::<AtomicI32>(),
            )
        }
    }

    /// Two numbers of the second page.
    pub fn second(&self) -> &[AtomicI32; 2] {
        // SAFETY: as above; the offset is within the mapping and aligned to a page.
        unsafe { self.base.add(self.page).cast().as_ref() }
    }
}
