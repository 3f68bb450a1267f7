//! The addresses of D-Bus buses, and the default addresses.
//!
//! D-Bus Specification, "Server Addresses".

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const SYSTEM_MANAGER: &str = "/run/systemd/private";

/// The variables of the caller's environment that locate service managers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// `DBUS_SYSTEM_BUS_ADDRESS`
    pub system_bus: Option<String>,
    /// `DBUS_SESSION_BUS_ADDRESS`
    pub session_bus: Option<String>,
    /// `XDG_RUNTIME_DIR`
    pub runtime_dir: Option<String>,
}

impl Environment {
    /// Reads the variables by `get`; an empty variable counts as unset.
    pub fn new(get: impl Fn(&str) -> Option<String>) -> Environment {
        let get = |name| get(name).filter(|value| !value.is_empty());
        Environment {
            system_bus: get("DBUS_SYSTEM_BUS_ADDRESS"),
            session_bus: get("DBUS_SESSION_BUS_ADDRESS"),
            runtime_dir: get("XDG_RUNTIME_DIR"),
        }
    }
}

/// The address of a bus. It is stored, so that later commands do not need the environment of
/// create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address(String);

/// A socket that an address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Socket {
    /// Whether the socket belongs to a service manager itself, without a bus.
    pub fn is_direct(&self) -> bool {
        matches!(self, Socket::Path(path) if path.ends_with("systemd/private"))
    }
}

impl Address {
    /// Finds the service manager of the system, or with `user` that of the user.
    pub fn find(user: bool, environment: &Environment) -> Result<Address> {
        let at = |path: &str| format!("unix:path={}", escape(path));
        if !user {
            // Early in the boot there is no bus yet, but the service manager accepts calls too.
            let default = || format!("{};{}", at(SYSTEM_BUS), at(SYSTEM_MANAGER));
            return Ok(Address(environment.system_bus.clone().unwrap_or_else(default)));
        }
        if let Some(address) = &environment.session_bus {
            return Ok(Address(address.clone()));
        }
        let Some(dir) = environment.runtime_dir.as_ref().filter(|dir| dir.starts_with('/')) else {
            let why = "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set, so that the \
                       user's service manager cannot be found (log in anew, or use no \
                       --systemd-cgroup)";
            return Err(Error::new(crate::Kind::System, why).context("--systemd-cgroup"));
        };
        let paths = ["bus", "systemd/private"].map(|name| at(&format!("{dir}/{name}")));
        Ok(Address(paths.join(";")))
    }

    /// Returns the sockets, in the order in which they are to be tried.
    pub fn sockets(&self) -> Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        for address in self.0.split(';').filter(|address| !address.is_empty()) {
            let Some(values) = address.strip_prefix("unix:") else { continue };
            for pair in values.split(',') {
                match pair.split_once('=') {
                    Some(("path", value)) => {
                        use std::os::unix::ffi::OsStringExt;
                        let path = std::ffi::OsString::from_vec(self.unescape(value)?);
                        sockets.push(Socket::Path(path.into()));
                    }
                    Some(("abstract", value)) => {
                        sockets.push(Socket::Abstract(self.unescape(value)?));
                    }
                    _ => {}
                }
            }
        }
        if sockets.is_empty() {
            return Err(self.bad("names no socket (unix:path=... or unix:abstract=...)"));
        }
        Ok(sockets)
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

/// Escapes the bytes that an address may not contain.
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

    fn sockets(address: &str) -> Result<Vec<Socket>> {
        Address(address.to_owned()).sockets()
    }

    fn path(path: &str) -> Socket {
        Socket::Path(path.into())
    }

    #[test]
    fn addresses_name_sockets() {
        assert_eq!(sockets("unix:path=/a%20b,guid=1").unwrap(), [path("/a b")]);
        assert_eq!(
            sockets("tcp:host=x;unix:abstract=/t/dbus-1;unix:path=/b").unwrap(),
            [Socket::Abstract(b"/t/dbus-1".to_vec()), path("/b")]
        );
        for bad in ["", "tcp:host=x", "unix:path=/a%2", "unix:path=/a%zz", "unix:tmpdir=/tmp"] {
            assert!(sockets(bad).is_err(), "{bad}");
        }
        assert!(path("/run/systemd/private").is_direct());
        assert!(!path("/run/dbus/system_bus_socket").is_direct());
    }

    #[test]
    fn the_environment_leads_to_the_bus() {
        let with = |user, list: &'static [(&str, &str)]| {
            let environment = Environment::new(|name| {
                let found = list.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            });
            Address::find(user, &environment)
        };
        let usual = [path(SYSTEM_BUS), path(SYSTEM_MANAGER)];
        assert_eq!(with(false, &[]).unwrap().sockets().unwrap(), usual);
        // The variables of a session do not affect the system's bus.
        let session = &[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/s"), ("XDG_RUNTIME_DIR", "/r")];
        assert_eq!(with(false, session).unwrap().sockets().unwrap(), usual);
        assert_eq!(with(true, session).unwrap().sockets().unwrap(), [path("/s")]);
        assert_eq!(
            with(true, &[("XDG_RUNTIME_DIR", "/run/user/1 0")]).unwrap().sockets().unwrap(),
            [path("/run/user/1 0/bus"), path("/run/user/1 0/systemd/private")]
        );
        assert!(with(true, &[]).unwrap_err().to_string().starts_with("--systemd-cgroup: "));
        let system = with(false, &[("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/x")]).unwrap();
        assert_eq!(system.sockets().unwrap(), [path("/x")]);
    }
}
