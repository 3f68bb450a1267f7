//! The system calls that some architectures once had behind a multiplexer, socketcall(2) or ipc(2),
//! and that newer kernels (i386: Linux 4.3) also have under numbers of their own.

use std::collections::HashMap;

use libseccomp::{ScmpArch, ScmpSyscall};

/// The numbers of i386 (arch/x86/entry/syscalls/syscall_32.tbl), sorted by name. libseccomp finds
/// the name of a number only, in memory that the C library allocates: to ask for all numbers takes
/// longer than to compile a profile, and i386 is in the profile of each engine.
const X86: [(&str, u32); 27] = [
    ("accept4", 364),
    ("bind", 361),
    ("connect", 362),
    ("getpeername", 368),
    ("getsockname", 367),
    ("getsockopt", 365),
    ("listen", 363),
    ("msgctl", 402),
    ("msgget", 399),
    ("msgrcv", 401),
    ("msgsnd", 400),
    ("recvfrom", 371),
    ("recvmmsg", 337),
    ("recvmsg", 372),
    ("semctl", 394),
    ("semget", 393),
    ("sendmmsg", 345),
    ("sendmsg", 370),
    ("sendto", 369),
    ("setsockopt", 366),
    ("shmat", 397),
    ("shmctl", 396),
    ("shmdt", 398),
    ("shmget", 395),
    ("shutdown", 373),
    ("socket", 359),
    ("socketpair", 360),
];

/// The calls of an architecture that are behind a multiplexer as well.
pub(super) struct Direct {
    arch: ScmpArch,
    /// Asked for at the first call, for architectures other than i386.
    numbers: Option<HashMap<String, u32>>,
}

impl Direct {
    pub(super) fn new(arch: ScmpArch) -> Self {
        Direct { arch, numbers: None }
    }

    /// Returns the number of a call; `None` if the call is behind the multiplexer only.
    pub(super) fn number(&mut self, name: &str) -> Option<u32> {
        if self.arch == ScmpArch::X86 {
            let found = X86.binary_search_by_key(&name, |(name, _)| name);
            return found.ok().map(|index| X86[index].1);
        }
        self.numbers.get_or_insert_with(|| numbers(self.arch)).get(name).copied()
    }
}

/// Returns the calls in the range of numbers in which newer kernels have those behind a multiplexer.
fn numbers(arch: ScmpArch) -> HashMap<String, u32> {
    let range = match arch {
        ScmpArch::Mips | ScmpArch::Mipsel => 4000..=4500,
        _ => 326..=410,
    };
    let name = |number: i32| ScmpSyscall::from(number).get_name_by_arch(arch).ok();
    range.filter_map(|number| Some((name(number)?, number as u32))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_i386_are_those_of_libseccomp() {
        assert!(X86.is_sorted());
        let behind = |name: &str| {
            // libseccomp's own numbers for the calls behind a multiplexer are negative.
            ScmpSyscall::from_name_by_arch(name, ScmpArch::X86)
                .is_ok_and(|call| (-224..=-100).contains(&call.as_raw_syscall()))
        };
        let mut known: Vec<_> =
            numbers(ScmpArch::X86).into_iter().filter(|(name, _)| behind(name)).collect();
        known.sort_unstable();
        let table: Vec<_> = X86.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        assert_eq!(known, table);
        assert_eq!(Direct::new(ScmpArch::X86).number("socket"), Some(359));
        assert_eq!(Direct::new(ScmpArch::X86).number("accept"), None);
        assert_eq!(Direct::new(ScmpArch::S390X).number("socket"), Some(359));
    }
}
