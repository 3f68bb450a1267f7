//! Network devices and their addresses, rtnetlink(7).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::netlink::{Refusal, Request, Socket, attributes, u32_at};

/// The size of `struct ifinfomsg` and of `struct ifaddrmsg`.
const LINK: usize = 16;
const ADDRESS: usize = 8;

/// The attributes of an address that say what it is. The others are the kernel's, or of the device
/// (the label).
const OF_ADDRESS: &[u16] = &[
    libc::IFA_ADDRESS,
    libc::IFA_LOCAL,
    libc::IFA_BROADCAST,
    libc::IFA_CACHEINFO,
    IFA_RT_PRIORITY,
    IFA_PROTO,
];
// linux/if_addr.h
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
/// The flags of an address that a user sets. The others are the kernel's.
const USER_FLAGS: u32 = libc::IFA_F_NODAD
    | libc::IFA_F_HOMEADDRESS
    | libc::IFA_F_MANAGETEMPADDR
    | libc::IFA_F_NOPREFIXROUTE
    | libc::IFA_F_MCAUTOJOIN;

/// A network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number in its network namespace.
    pub index: i32,
    /// Whether it is up.
    pub is_up: bool,
}

/// An address of a network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Family and length of the prefix.
    family: u8,
    prefix: u8,
    /// The flags that a user sets.
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// Returns the device of a name, if there is one.
pub fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>, Refusal> {
    let request = Request::new(libc::RTM_GETLINK, &link(0, 0));
    match socket.get(request.attribute(libc::IFLA_IFNAME, &terminated(name))) {
        Ok(found) => {
            let index = u32_at(&found, 4).map(u32::cast_signed);
            let flags = u32_at(&found, 8).unwrap_or(0);
            let is_up = flags & libc::IFF_UP as u32 != 0;
            Ok(index.map(|index| Link { index, is_up }))
        }
        Err(refusal) if refusal.errno == Errno::ENODEV => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Moves a device to another network namespace, where it is named `name`. The kernel takes its
/// addresses away and brings it down.
pub fn move_to(
    socket: &mut Socket,
    index: i32,
    namespace: BorrowedFd<'_>,
    name: &str,
) -> Result<(), Refusal> {
    let request = Request::new(libc::RTM_SETLINK, &link(index, 0))
        .attribute(libc::IFLA_IFNAME, &terminated(name))
        .attribute(libc::IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    socket.change(request)
}

/// Brings a device up, and renames it before that. A `%d` in the name is replaced by the first free
/// number.
pub fn bring_up(socket: &mut Socket, index: i32, name: Option<&str>) -> Result<(), Refusal> {
    let mut request = Request::new(libc::RTM_SETLINK, &link(index, libc::IFF_UP as u32));
    if let Some(name) = name {
        request = request.attribute(libc::IFLA_IFNAME, &terminated(name));
    }
    socket.change(request)
}

/// Returns the permanent addresses of global scope of a device.
pub fn addresses(socket: &mut Socket, index: i32) -> Result<Vec<Address>, Refusal> {
    let all = socket.list(|| Request::new(libc::RTM_GETADDR, &[0; ADDRESS]))?;
    Ok(all.iter().filter_map(|message| address(message, index)).collect())
}

/// Adds an address to a device.
pub fn add_address(socket: &mut Socket, index: i32, address: &Address) -> Result<(), Refusal> {
    let mut fixed = [address.family, address.prefix, 0, libc::RT_SCOPE_UNIVERSE, 0, 0, 0, 0];
    fixed[4..].copy_from_slice(&index.to_ne_bytes());
    let request = Request::new(libc::RTM_NEWADDR, &fixed);
    let request = request.attribute(libc::IFA_FLAGS, &address.flags.to_ne_bytes());
    let request = address
        .attributes
        .iter()
        .fold(request, |request, (kind, value)| request.attribute(*kind, value));
    socket.create(request)
}

/// Reads a message about an address. `None` if it is of another device, not permanent, or not of
/// global scope.
fn address(message: &[u8], index: i32) -> Option<Address> {
    let (&[family, prefix, flags, scope, ..], rest) = message.split_first_chunk::<ADDRESS>()?;
    // The attribute has the flags that do not fit into the fixed part.
    let wide = attributes(rest).find(|(kind, _)| *kind == libc::IFA_FLAGS);
    let flags = wide.and_then(|(_, value)| u32_at(value, 0)).unwrap_or(u32::from(flags));
    if u32_at(message, 4)?.cast_signed() != index
        || scope != libc::RT_SCOPE_UNIVERSE
        || flags & libc::IFA_F_PERMANENT == 0
    {
        return None;
    }
    let kept = attributes(rest).filter(|(kind, _)| OF_ADDRESS.contains(kind));
    let attributes = kept.map(|(kind, value)| (kind, value.to_vec())).collect();
    Some(Address { family, prefix, flags: flags & USER_FLAGS, attributes })
}

/// Returns a `struct ifinfomsg` that sets `flags`.
fn link(index: i32, flags: u32) -> [u8; LINK] {
    let mut fixed = [0; LINK];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..].copy_from_slice(&flags.to_ne_bytes());
    fixed
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: i32, flags: u32, scope: u8) -> Vec<u8> {
        let mut bytes = vec![libc::AF_INET as u8, 24, flags as u8, scope];
        bytes.extend(index.to_ne_bytes());
        for (kind, value) in [
            (libc::IFA_LOCAL, [10, 0, 0, 1]),
            (libc::IFA_LABEL, *b"eth0"),
            (libc::IFA_FLAGS, flags.to_ne_bytes()),
        ] {
            bytes.extend(8u16.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
        }
        bytes
    }

    #[test]
    fn permanent_addresses_of_global_scope_are_kept() {
        let kept = libc::IFA_F_NOPREFIXROUTE | libc::IFA_F_PERMANENT | libc::IFA_F_SECONDARY;
        let found = address(&message(7, kept, 0), 7).unwrap();
        let attributes = vec![(libc::IFA_LOCAL, vec![10, 0, 0, 1])];
        let family = libc::AF_INET as u8;
        assert_eq!(
            found,
            Address { family, prefix: 24, flags: libc::IFA_F_NOPREFIXROUTE, attributes }
        );
        for (index, flags, scope) in [(8, kept, 0), (7, 0, 0), (7, kept, libc::RT_SCOPE_LINK)] {
            assert_eq!(address(&message(index, flags, scope), 7), None);
        }
        assert_eq!(address(&[0; 7], 0), None);
    }

    #[test]
    fn the_loopback_device_is_found() {
        let mut socket = Socket::open().unwrap();
        assert_eq!(find(&mut socket, "lo").unwrap().unwrap().index, 1);
        assert_eq!(find(&mut socket, "no-such-device").unwrap(), None);
        addresses(&mut socket, 1).unwrap();
    }
}
