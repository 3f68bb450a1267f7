//! systemd as the maker of the container's cgroup: a transient unit, asked for over D-Bus.
//!
//! [`Names`] is what `linux.cgroupsPath` says; [`Property`] one setting of a unit, among them those
//! that annotations give ([`annotations`]); `Bus` a connection on which nothing waits for ever; and
//! [`Unit`] is what is stored of a unit that was made, with all that can be asked of it.
//!
//! The bus is spoken to by our own code. Its wire format has not changed since 2006 and we need a
//! dozen messages of it, while what the available crates have around that does not suit a process
//! that must neither hang nor start threads: one has no time limit on its handshake, and panics on
//! what the bus says there; one runs an executor in a thread; one is a C library.
//!
//! D-Bus Specification, <https://dbus.freedesktop.org/doc/dbus-specification.html>;
//! org.freedesktop.systemd1(5).

mod address;
pub mod annotations;
mod bus;
#[cfg(test)]
mod fake;
mod manager;
mod names;
mod text;
mod value;
mod wire;

pub use address::Address;
pub use manager::{Property, Request, Unit};
pub use names::{Names, escape_id};
pub use value::Value;
