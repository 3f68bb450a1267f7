//! bpf(2), for the device rules of cgroup v2.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

// include/uapi/linux/bpf.h
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 1 << 1;

/// The maximum number of programs on a cgroup (`BPF_CGROUP_MAX_PROGS`).
const MAX_ATTACHED: usize = 64;

/// An eBPF instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    pub code: u8,
    registers: u8,
    /// Jump distance or memory offset.
    pub off: i16,
    /// Constant operand.
    pub imm: i32,
}

impl Insn {
    /// Creates an instruction; `dst` and `src` are register numbers, 0 to 10.
    pub const fn new(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Self {
        // The two register fields are C bit-fields, so their order depends on the byte order.
        let registers = if cfg!(target_endian = "little") {
            (src << 4) | (dst & 0xf)
        } else {
            (dst << 4) | (src & 0xf)
        };
        Insn { code, registers, off, imm }
    }

    #[cfg(any(test, fuzzing))]
    pub const fn dst(self) -> u8 {
        if cfg!(target_endian = "little") { self.registers & 0xf } else { self.registers >> 4 }
    }

    #[cfg(any(test, fuzzing))]
    pub const fn src(self) -> u8 {
        if cfg!(target_endian = "little") { self.registers >> 4 } else { self.registers & 0xf }
    }
}

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
struct IdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Calls bpf(2) with the part of `union bpf_attr` that a command reads.
///
/// # Safety
/// Each address in `attr` must be that of memory which the caller keeps borrowed, as large as the
/// other fields say, and writable if the command writes there.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: the kernel reads and writes size_of::<T>() bytes of `attr`, which is borrowed
    // mutably; the addresses in it are the caller's contract.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>())
    })
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // A descriptor that is open is never negative.
    fd.as_raw_fd().cast_unsigned()
}

fn owned(result: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = libc::c_int::try_from(result).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just returned this descriptor, close-on-exec, and nothing else
    // holds it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Verifies and loads a program that decides on device accesses of a cgroup
/// (`BPF_PROG_TYPE_CGROUP_DEVICE`, Linux 4.15).
pub fn load_device_program(program: &[Insn]) -> Result<OwnedFd, Errno> {
    let mut prog_name = [0; 16];
    for (to, from) in prog_name.iter_mut().zip(b"bulkhead") {
        *to = *from;
    }
    let mut attr = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        prog_name,
        ..LoadAttr::default()
    };
    // SAFETY: the program and the licence are borrowed and only read, and the instructions counted.
    owned(unsafe { bpf(PROG_LOAD, &mut attr) }?)
}

/// Adds `program` to the device programs of `cgroup`, all of which must allow an access
/// (`BPF_F_ALLOW_MULTI`).
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    attach(PROG_ATTACH, cgroup, program, F_ALLOW_MULTI)
}

/// Removes `program` from the device programs of `cgroup`.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    attach(PROG_DETACH, cgroup, program, 0)
}

fn attach(
    command: libc::c_int,
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    attach_flags: u32,
) -> Result<(), Errno> {
    let (target_fd, attach_bpf_fd) = (raw(cgroup), raw(program));
    let mut attr =
        AttachAttr { target_fd, attach_bpf_fd, attach_type: CGROUP_DEVICE, attach_flags };
    // SAFETY: no addresses.
    unsafe { bpf(command, &mut attr) }.map(drop)
}

/// Returns the ids of the device programs attached to `cgroup` itself, not to its ancestors.
pub fn attached_device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut ids = [0u32; MAX_ATTACHED];
    let mut attr = QueryAttr {
        target_fd: raw(cgroup),
        attach_type: CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MAX_ATTACHED as u32,
        ..QueryAttr::default()
    };
    // SAFETY: `ids` is borrowed for writing and has room for `prog_cnt` ids.
    unsafe { bpf(PROG_QUERY, &mut attr) }?;
    let count = usize::try_from(attr.prog_cnt).unwrap_or(MAX_ATTACHED);
    Ok(ids.into_iter().take(count).collect())
}

pub fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    let mut attr = IdAttr { prog_id: id, next_id: 0, open_flags: 0 };
    // SAFETY: no addresses.
    owned(unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_those_of_the_kernel() {
        assert_eq!(size_of::<Insn>(), 8);
        assert_eq!(size_of::<LoadAttr>(), 64);
        assert_eq!(size_of::<AttachAttr>(), 16);
        assert_eq!(size_of::<QueryAttr>(), 32);
        let insn = Insn::new(0x61, 2, 1, 0, 0);
        assert_eq!((insn.dst(), insn.src()), (2, 1));
    }
}
