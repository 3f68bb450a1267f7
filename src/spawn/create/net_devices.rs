//! Moves network devices into the container, and back if the create fails.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns};

use crate::config::{InsideName, NetDevice};
use crate::fs::Proc;
use crate::sys::links::{self, Address, Link};
use crate::sys::netlink::Socket;
use crate::{Context, Error, Kind, Result, log};

/// The network namespaces of the runtime and of the container, and the devices that have moved from
/// the first to the second.
///
/// The runtime moves them: root of the container's user namespace has no rights over the devices of
/// the host. The container's namespace exists as long as this value, even if init has ended, so that
/// devices can be moved back.
#[derive(Debug)]
pub(super) struct NetDevices {
    host: Side,
    container: Side,
    moved: Vec<Moved>,
}

/// A network namespace.
#[derive(Debug)]
struct Side {
    namespace: OwnedFd,
    socket: Socket,
}

/// A device that has moved, or that may have.
#[derive(Debug)]
struct Moved {
    /// Its name on the host.
    name: String,
    /// The device on the host, before the move.
    link: Link,
    /// Its name on arrival in the container.
    arrival: String,
    /// Its number in the container, once it is known.
    index: Option<i32>,
    addresses: Vec<Address>,
}

impl NetDevices {
    /// Opens the network namespaces of the runtime and of process `pid`.
    pub fn open(proc: &Proc, pid: i32) -> Result<NetDevices> {
        let own = proc.own_namespace("net").context("open the runtime's network namespace")?;
        let other = proc.namespace_of(pid, "net");
        let other = other.context("open the container's network namespace")?;
        let id = |namespace: &OwnedFd| rustix::fs::fstat(namespace).map(|stat| stat.st_ino);
        if id(&own)? == id(&other)? {
            let why = "the container's network namespace is the runtime's, where the devices are";
            return Err(Error::invalid_field("linux.netDevices", why));
        }
        let open = || Socket::open().context("open a netlink socket");
        let host = Side { socket: open()?, namespace: own };
        enter(other.as_fd()).context("enter the container's network namespace")?;
        let socket = open();
        enter(host.namespace.as_fd()).context("return to the runtime's network namespace")?;
        let container = Side { socket: socket?, namespace: other };
        Ok(NetDevices { host, container, moved: Vec::new() })
    }

    /// Moves a device into the container with its permanent addresses of global scope, and brings it
    /// up.
    pub fn move_in(&mut self, device: &NetDevice) -> Result<()> {
        self.relocate(device).with_context(|| format!("linux.netDevices.{}", device.name))
    }

    fn relocate(&mut self, device: &NetDevice) -> Result<()> {
        let (host, container) = (&mut self.host.socket, &mut self.container.socket);
        let link = links::find(host, &device.name).context("look for the device")?;
        let missing = "no device of this name in the runtime's network namespace";
        let link = link.ok_or_else(|| Error::new(Kind::Invalid, missing))?;
        let (arrival, template) = match &device.inside {
            InsideName::Fixed(name) => (name.clone(), None),
            // The kernel does not tell the name that it makes, so the device is found by another.
            InsideName::Template(name) => (temporary_name(), Some(name.as_str())),
        };
        // The kernel would move the device, and only then refuse its new name.
        if links::find(container, &arrival).context("look for the new name")?.is_some() {
            let why = "the container's network namespace has a device of this name";
            return Err(Error::invalid("name", arrival, why));
        }
        // Before the move, by which the kernel drops them.
        let addresses = links::addresses(host, link.index).context("list its addresses")?;
        let moved = Moved { name: device.name.clone(), link, arrival, index: None, addresses };
        self.moved.push(moved);
        let Some(moved) = self.moved.last_mut() else { return Ok(()) };
        links::move_to(host, link.index, self.container.namespace.as_fd(), &moved.arrival)
            .context("move the device into the container's network namespace")?;
        let arrived =
            links::find(container, &moved.arrival).context("look for the moved device")?;
        let index = arrived.ok_or_else(gone)?.index;
        moved.index = Some(index);
        for address in &moved.addresses {
            links::add_address(container, index, address).context("add an address that it had")?;
        }
        links::bring_up(container, index, template).context("bring the device up")
    }

    /// Moves all devices back to the host, with their addresses. The devices of a namespace that
    /// ends would be destroyed, if they are virtual.
    pub fn move_back(mut self) {
        while let Some(moved) = self.moved.pop() {
            let name = moved.name.clone();
            match self
                .restore(&moved)
                .with_context(|| format!("linux.netDevices.{name}: move it back"))
            {
                Ok(true) => log::warn(format_args!(
                    "linux.netDevices.{name}: moved back to the host; its routes are lost"
                )),
                Ok(false) => {}
                Err(error) => log::warn(error),
            }
        }
    }

    /// Moves a device back. Returns false if it had not moved.
    fn restore(&mut self, moved: &Moved) -> Result<bool> {
        let (host, container) = (&mut self.host.socket, &mut self.container.socket);
        if links::find(host, &moved.name)?.is_some_and(|link| link.index == moved.link.index) {
            return Ok(false);
        }
        let index = match moved.index {
            Some(index) => index,
            None => match links::find(container, &moved.arrival)? {
                Some(link) => link.index,
                // Another process took the new name between the check and the move.
                None => links::find(container, &moved.name)?.ok_or_else(gone)?.index,
            },
        };
        links::move_to(container, index, self.host.namespace.as_fd(), &moved.name)?;
        let index = links::find(host, &moved.name)?.ok_or_else(gone)?.index;
        for address in &moved.addresses {
            // An address that cannot be added must not keep the others away.
            let added = links::add_address(host, index, address).with_context(|| {
                format!("linux.netDevices.{}: add an address that it had", moved.name)
            });
            added.unwrap_or_else(log::warn);
        }
        if moved.link.is_up {
            links::bring_up(host, index, None)?;
        }
        Ok(true)
    }
}

fn enter(namespace: BorrowedFd<'_>) -> nix::Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWNET)
}

fn gone() -> Error {
    Error::new(Kind::System, "it is gone")
}

/// Returns a name that no device has.
fn temporary_name() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("bh{:012x}", random >> 16)
}
