//! systemd as the maker of the container's cgroup: a transient unit, asked for over D-Bus.
//!
//! [`Names`] is what `linux.cgroupsPath` says; [`Property`] one setting of a unit, among them those
//! that annotations give ([`annotations`]); `Bus` a connection on which nothing waits for ever; and
//! [`Unit`] is what is stored of a unit that was made, with all that can be asked of it.
//!
//! The bus is spoken to by our own code. Its wire format has not changed since 2006 and we need a
//! dozen messages of it, while what the available crates have around that does not suit a process
//! that must neither hang nor abort: rustbus has no time limit on its handshake and panics on what
//! the bus says there; so does zbus (6.2) on a line feed alone, it names a user id in the login, for
//! which a bus refuses the root of a user namespace, and it cannot read systemd's private socket,
//! whose sender has no unique name; dbus is a C library. Of zbus only the values could be used, and
//! those panic on a signature of more than 255 letters and need a hundred times a message's memory.
//!
//! D-Bus Specification, <https://dbus.freedesktop.org/doc/dbus-specification.html>;
//! org.freedesktop.systemd1(5).

mod address;
pub mod annotations;
mod bus;
#[cfg(test)]
mod fake;
mod gvariant;
mod manager;
mod names;
mod property;
mod unit;
mod value;
mod wire;

pub use address::{Address, Environment};
pub use names::{Names, escape_id};
pub use property::Property;
pub use unit::{TransientUnit, Unit};
pub use value::Value;
