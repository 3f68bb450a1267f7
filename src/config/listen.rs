//! Socket activation (sd_listen_fds(3)): descriptors that a service manager passes to the runtime
//! for the container's program.
//!
//! They count only if `LISTEN_PID` is the runtime: every process inherits the variables, which may
//! be for another process. The descriptors precede those of `--preserve-fds`.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::{Error, Result};

/// The kernel's own limit on the descriptors of a process.
const MOST: u32 = 1 << 20;

/// The number and the names of the passed descriptors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listen {
    count: u32,
    names: Option<Vec<u8>>,
}

impl Listen {
    /// Reads the runtime's environment. Returns no descriptors if `LISTEN_PID` is another process.
    ///
    /// # Errors
    /// If `LISTEN_FDS` is not a possible number of descriptors.
    pub fn from_environment() -> Result<Listen> {
        let get = |name| std::env::var_os(name).map(OsStringExt::into_vec);
        Listen::new(std::process::id(), get("LISTEN_PID"), get("LISTEN_FDS"), get("LISTEN_FDNAMES"))
    }

    fn new(
        own: u32,
        pid: Option<Vec<u8>>,
        count: Option<Vec<u8>>,
        names: Option<Vec<u8>>,
    ) -> Result<Listen> {
        let (Some(pid), Some(count)) = (pid, count) else { return Ok(Listen::default()) };
        if number(&pid) != Some(own) {
            return Ok(Listen::default());
        }
        match number(&count).filter(|count| *count < MOST) {
            Some(0) => Ok(Listen::default()),
            Some(count) => Ok(Listen { count, names }),
            None => {
                let why = format!("not a number of descriptors (at most {})", MOST - 1);
                Err(Error::invalid("LISTEN_FDS", String::from_utf8_lossy(&count), why))
            }
        }
    }

    /// Returns the number of descriptors, which begin at 3.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Sets the variables in the program's environment, if there are descriptors, and removes those
    /// that it has. [`Listen::pid_variable`] completes them.
    pub fn tell(&self, env: &mut Vec<CString>) {
        if self.count == 0 {
            return;
        }
        env.retain(|entry| !is_ours(entry.as_bytes()));
        let mut add = |name: &str, value: &[u8]| {
            // A variable of the runtime's own environment contains no NUL byte.
            env.extend(CString::new([name.as_bytes(), b"=", value].concat()));
        };
        add("LISTEN_FDS", self.count.to_string().as_bytes());
        if let Some(names) = &self.names {
            add("LISTEN_FDNAMES", names);
        }
    }

    /// Returns the variable that names the program as the receiver, by its id in its own pid
    /// namespace. Writes into `buffer`: a process under a seccomp filter may be unable to allocate
    /// memory.
    pub fn pid_variable<'a>(&self, pid: i32, buffer: &'a mut [u8; 32]) -> Option<&'a CStr> {
        use std::io::Write;
        if self.count == 0 {
            return None;
        }
        write!(buffer.as_mut_slice(), "LISTEN_PID={pid}\0").ok()?;
        CStr::from_bytes_until_nul(buffer).ok()
    }
}

fn is_ours(entry: &[u8]) -> bool {
    let name = entry.split(|byte| *byte == b'=').next().unwrap_or_default();
    [&b"LISTEN_FDS"[..], b"LISTEN_PID", b"LISTEN_FDNAMES"].contains(&name)
}

fn number(text: &[u8]) -> Option<u32> {
    std::ffi::OsStr::from_bytes(text).to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(pid: &str, count: &str, names: Option<&str>) -> Result<Listen> {
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        Listen::new(7, bytes(pid), bytes(count), names.and_then(bytes))
    }

    #[test]
    fn only_what_is_meant_for_this_process() {
        assert_eq!(listen("7", "2", None).unwrap().count(), 2);
        assert_eq!(listen("8", "2", None).unwrap().count(), 0);
        assert_eq!(listen("", "2", None).unwrap().count(), 0);
        assert_eq!(listen("7", "0", None).unwrap().count(), 0);
        assert_eq!(Listen::new(7, None, Some(b"2".to_vec()), None).unwrap(), Listen::default());
        for count in ["-1", "x", "", "1048576", "99999999999"] {
            let error = listen("7", count, None).unwrap_err().to_string();
            assert!(error.contains("LISTEN_FDS"), "{count}: {error}");
        }
    }

    #[test]
    fn the_program_is_told() {
        let told = |listen: &Listen| {
            let mut env: Vec<CString> =
                [c"LISTEN_PID=9", c"LISTEN_FDNAMES=x", c"LISTEN_FDSX=1"].map(Into::into).into();
            listen.tell(&mut env);
            env.iter().map(|e| e.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            told(&listen("7", "2", Some("a:b")).unwrap()),
            ["LISTEN_FDSX=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b"]
        );
        assert_eq!(told(&listen("7", "2", None).unwrap()), ["LISTEN_FDSX=1", "LISTEN_FDS=2"]);
        assert_eq!(told(&Listen::default())[0], "LISTEN_PID=9");
        let mut buffer = [0; 32];
        let variable =
            listen("7", "2", None).unwrap().pid_variable(i32::MAX, &mut buffer).map(Into::into);
        assert_eq!(variable, Some(CString::from(c"LISTEN_PID=2147483647")));
        assert!(Listen::default().pid_variable(1, &mut buffer).is_none());
    }
}
