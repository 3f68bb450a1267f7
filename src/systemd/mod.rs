//! systemd as the creator of the container's cgroup: a transient unit, requested over D-Bus.
//!
//! [`Names`] is the parsed `linux.cgroupsPath`; [`TransientUnit`] describes a unit to be created,
//! with its [`Property`] values, some of which come from [`annotations`]; [`Unit`] is a created
//! unit, as stored. The modules below are the manager object of systemd, the bus, which never
//! blocks without a deadline, the wire format, and the values.
//!
//! The D-Bus client is part of this program. The wire format has not changed since 2006, a dozen of
//! its messages are needed, and the available crates do not suit a process that must neither hang
//! nor abort: rustbus has no time limit on its handshake and panics on unexpected lines in it; zbus
//! (6.2) panics on a bare line feed, sends a user id in the login, for which a bus refuses the root
//! of a user namespace, and cannot read systemd's private socket, whose sender has no unique name;
//! dbus is a C library. The value types of zbus panic on a signature of more than 255 characters,
//! and need a hundred times the memory of a message.
//!
//! D-Bus Specification, <https://dbus.freedesktop.org/doc/dbus-specification.html>;
//! org.freedesktop.systemd1(5).

mod address;
pub mod annotations;
mod bus;
#[cfg(test)]
mod bus_tests;
#[cfg(test)]
mod fake;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gvariant;
mod manager;
mod names;
mod unit;
mod value;
mod wire;

pub use address::Environment;
pub use names::Names;
pub use unit::{TransientUnit, Unit};
pub use value::{Property, Value};
