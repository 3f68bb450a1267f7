//! Where a bus is: D-Bus server addresses, and where to look for one.
//!
//! D-Bus Specification, "Server Addresses".

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const SYSTEM_MANAGER: &str = "/run/systemd/private";

/// How a bus is reached. It is stored, so that later commands find it without the environment of
/// create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address(String);

/// A socket that an address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// In the file system.
    Path(PathBuf),
    /// In Linux's abstract name space.
    Abstract(Vec<u8>),
}

impl Target {
    /// Whether it is a service manager's own socket, on which there is no bus between.
    pub fn is_direct(&self) -> bool {
        matches!(self, Target::Path(path) if path.ends_with("systemd/private"))
    }
}

impl Address {
    /// The system's service manager, or with `user` the one of the user's session.
    pub fn find(user: bool) -> Result<Address> {
        find(user, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The sockets, in the order in which they are to be tried.
    pub fn targets(&self) -> Result<Vec<Target>> {
        let mut targets = Vec::new();
        for address in self.0.split(';').filter(|address| !address.is_empty()) {
            let Some(values) = address.strip_prefix("unix:") else { continue };
            for pair in values.split(',') {
                match pair.split_once('=') {
                    Some(("path", value)) => {
                        use std::os::unix::ffi::OsStringExt;
                        let path = std::ffi::OsString::from_vec(self.unescape(value)?);
                        targets.push(Target::Path(path.into()));
                    }
                    Some(("abstract", value)) => {
                        targets.push(Target::Abstract(self.unescape(value)?));
                    }
                    _ => {}
                }
            }
        }
        if targets.is_empty() {
            return Err(self.bad("names no socket (unix:path=... or unix:abstract=...)"));
        }
        Ok(targets)
    }

    fn unescape(&self, text: &str) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                out.push(byte);
                continue;
            }
            let mut digit = || rest.next().and_then(|byte| (byte as char).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(self.bad("has a bad escape"));
            };
            out.push(u8::try_from(high * 16 + low).unwrap_or_default());
        }
        Ok(out)
    }

    fn bad(&self, why: &str) -> Error {
        Error::invalid("D-Bus address", &self.0, why)
    }
}

fn find(user: bool, env: impl Fn(&str) -> Option<String>) -> Result<Address> {
    let at = |path: &str| format!("unix:path={}", escape(path));
    if !user {
        let given = env("DBUS_SYSTEM_BUS_ADDRESS");
        // Early in the boot there is no bus yet, but its service manager takes calls too.
        let usual = || format!("{};{}", at(SYSTEM_BUS), at(SYSTEM_MANAGER));
        return Ok(Address(given.unwrap_or_else(usual)));
    }
    let dir = env("XDG_RUNTIME_DIR").filter(|dir| dir.starts_with('/'));
    if let Some(address) = env("DBUS_SESSION_BUS_ADDRESS") {
        return Ok(Address(address));
    }
    let Some(dir) = dir else {
        let why = "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set, so that the \
                   user's service manager cannot be found (log in anew, or use no \
                   --systemd-cgroup)";
        return Err(Error::new(crate::Kind::System, why).context("--systemd-cgroup"));
    };
    let paths = ["bus", "systemd/private"].map(|name| at(&format!("{dir}/{name}")));
    Ok(Address(paths.join(";")))
}

/// All but the bytes that an address may have as they are.
fn escape(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'-' | b'_' | b'/' | b'\\' | b'.' | b'*' => out.push(byte as char),
            byte if byte.is_ascii_alphanumeric() => out.push(byte as char),
            byte => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(address: &str) -> Result<Vec<Target>> {
        Address(address.to_owned()).targets()
    }

    fn path(path: &str) -> Target {
        Target::Path(path.into())
    }

    #[test]
    fn addresses_name_sockets() {
        assert_eq!(targets("unix:path=/a%20b,guid=1").unwrap(), [path("/a b")]);
        assert_eq!(
            targets("tcp:host=x;unix:abstract=/t/dbus-1;unix:path=/b").unwrap(),
            [Target::Abstract(b"/t/dbus-1".to_vec()), path("/b")]
        );
        for bad in ["", "tcp:host=x", "unix:path=/a%2", "unix:path=/a%zz", "unix:tmpdir=/tmp"] {
            assert!(targets(bad).is_err(), "{bad}");
        }
        assert!(path("/run/systemd/private").is_direct());
        assert!(!path("/run/dbus/system_bus_socket").is_direct());
    }

    #[test]
    fn the_environment_leads_to_the_bus() {
        let with = |user, list: &'static [(&str, &str)]| {
            find(user, move |name| {
                let found = list.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let usual = [path(SYSTEM_BUS), path(SYSTEM_MANAGER)];
        assert_eq!(with(false, &[]).unwrap().targets().unwrap(), usual);
        // That of a session is none of the system's business.
        let session = &[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/s"), ("XDG_RUNTIME_DIR", "/r")];
        assert_eq!(with(false, session).unwrap().targets().unwrap(), usual);
        assert_eq!(with(true, session).unwrap().targets().unwrap(), [path("/s")]);
        assert_eq!(
            with(true, &[("XDG_RUNTIME_DIR", "/run/user/1 0")]).unwrap().targets().unwrap(),
            [path("/run/user/1 0/bus"), path("/run/user/1 0/systemd/private")]
        );
        assert!(with(true, &[]).unwrap_err().to_string().starts_with("--systemd-cgroup: "));
        let system = with(false, &[("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/x")]).unwrap();
        assert_eq!(system.targets().unwrap(), [path("/x")]);
    }
}
