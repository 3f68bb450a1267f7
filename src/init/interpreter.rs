//! The second file that execve(2) needs: the interpreter of a script, the loader of a dynamically
//! linked program. If that file is missing, execve(2) fails with ENOENT as if the program were
//! missing.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::seccomp::Call;

/// The kernel reads only 256 bytes for a script (binfmts.h, BINPRM_BUF_SIZE); program headers and
/// the name of the loader are in the first page of every usual file.
const HEAD: u64 = 4096;

/// Program header type of the loader's name (elf.h).
const PT_INTERP: u64 = 3;

pub(crate) fn calls() -> Vec<Call> {
    [libc::SYS_openat, libc::SYS_statx, libc::SYS_read, libc::SYS_close].map(Call::any).into()
}

/// Returns the interpreter or loader that the file `program` names. The file belongs to the image
/// and can have any content.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn of(program: &Path) -> std::io::Result<Option<String>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(program)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    let name = script(&head).or_else(|| loader(&head));
    Ok(name.map(|name| String::from_utf8_lossy(name).into_owned()))
}

/// Returns the first word after `#!`.
fn script(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).find(|word| !word.is_empty())
}

/// Returns the string of the program header PT_INTERP (elf(5)), in a file of this machine's byte
/// order.
fn loader(head: &[u8]) -> Option<&[u8]> {
    let number = |at: u64, size: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let mut bytes = head.get(at..at.checked_add(size)?)?.to_vec();
        if cfg!(target_endian = "big") {
            bytes.reverse();
        }
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    head.strip_prefix(b"\x7fELF")?;
    let is_64 = head.get(4) == Some(&2);
    // Offset and size of: table of headers, size of a header, their count; in a header: offset and
    // size of the string.
    let (table, size, count, start, length, word) =
        if is_64 { (32, 54, 56, 8, 32, 8) } else { (28, 42, 44, 4, 16, 4) };
    let (table, size, count) = (number(table, word)?, number(size, 2)?, number(count, 2)?);
    for index in 0..count {
        let header = table.checked_add(size.checked_mul(index)?)?;
        if number(header, 4)? == PT_INTERP {
            let from = usize::try_from(number(header.checked_add(start)?, word)?).ok()?;
            let length = usize::try_from(number(header.checked_add(length)?, word)?).ok()?;
            let name = head.get(from..from.checked_add(length)?)?;
            return name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_name_their_interpreter() {
        for (head, name) in [
            (&b"#!/bin/sh\necho"[..], Some(&b"/bin/sh"[..])),
            (b"#! /usr/bin/env python3\n", Some(b"/usr/bin/env")),
            (b"#!\t/bin/a\tb", Some(b"/bin/a")),
            (b"#!\n/bin/sh", None),
            (b"#!", None),
            (b"echo", None),
            (b"", None),
        ] {
            assert_eq!(script(head), name, "{head:?}");
        }
    }

    /// An executable's first bytes, in the layout of 64 or 32 bits, whose class says `class`. Its only
    /// program header is a PT_INTERP for the string at the end.
    fn header(wide: bool, class: u8) -> Vec<u8> {
        let (length, header, table, size, count) =
            if wide { (64, 56, 32, 54, 56) } else { (52, 32, 28, 42, 44) };
        let mut bytes = vec![0; length + header];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"\x7fELF");
        put(4, &[class]);
        put(size, &(header as u16).to_ne_bytes());
        put(count, &1_u16.to_ne_bytes());
        put(length, &(PT_INTERP as u32).to_ne_bytes());
        if wide {
            put(table, &(length as u64).to_ne_bytes());
            put(length + 8, &((length + header) as u64).to_ne_bytes());
            put(length + 32, &10_u64.to_ne_bytes());
        } else {
            put(table, &(length as u32).to_ne_bytes());
            put(length + 4, &((length + header) as u32).to_ne_bytes());
            put(length + 16, &10_u32.to_ne_bytes());
        }
        bytes.extend(b"/lib/ld-x\0");
        bytes
    }

    #[test]
    fn programs_name_their_loader() {
        for (wide, class) in [(true, 2), (false, 1)] {
            assert_eq!(loader(&header(wide, class)), Some(&b"/lib/ld-x"[..]), "{class}");
            // Another class than that of the layout.
            assert_eq!(loader(&header(wide, 3 - class)), None, "{class}");
        }
        assert_eq!(of(Path::new("/dev/null")).unwrap(), None);
        assert_eq!(of(Path::new("/")).unwrap(), None);
        assert!(of(Path::new("/no/such/program")).is_err());
    }

    #[test]
    fn hostile_headers_name_nothing() {
        for fill in [0, 1, 3, 0xff] {
            for class in [1, 2] {
                for length in 0..80 {
                    let mut head = vec![fill; length];
                    let magic = [0x7f, b'E', b'L', b'F', class];
                    for (to, from) in head.iter_mut().zip(magic) {
                        *to = from;
                    }
                    assert_eq!(loader(&head), None, "{fill} {class} {length}");
                }
            }
        }
    }
}
