//! The route into the namespaces: which process enters which namespace, and when.

use super::namespaces::{Choice, Kind, Namespaces};
use crate::host::Host;
use crate::{Error, Result};

/// Which process enters which namespace, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The namespaces that clone3(2) creates: new pid and user namespaces, if it can create them.
    pub clone_flags: i32,
    /// Whether the user namespace is entered after the clone, by setns(2) or unshare(2).
    pub late_user: bool,
    /// Whether a go-between is cloned first, enters the user namespace and clones init:
    /// a pid namespace takes effect only for children, and must belong to the user namespace.
    pub trampoline: bool,
    /// Whether a pid namespace is joined. Its processes could access init, so init is cloned into
    /// it as the last step (`init::birth`).
    pub joins_pid: bool,
    /// Whether the runtime has the privileges that the container's root lacks.
    pub is_privileged: bool,
    /// Whether the runtime may access a process that is hidden from others (prctl(2),
    /// PR_SET_DUMPABLE).
    pub may_trace: bool,
    /// Whether joined namespaces are entered with the runtime's privileges, before the user
    /// namespace.
    pub join_before_user: bool,
    /// The namespaces that init creates by unshare(2). The cgroup namespace is not among them: init
    /// creates it after it has moved to its cgroup.
    pub unshare_flags: i32,
}

impl Route {
    /// Chooses the shortest route.
    ///
    /// # Errors
    /// If the runtime has no privileges and the container no user namespace (user_namespaces(7)).
    pub fn new(namespaces: &Namespaces, host: &Host) -> Result<Route> {
        if !host.is_privileged() && !namespaces.has_user() {
            return Err(Error::invalid_field(
                "linux.namespaces",
                "without root privileges a user namespace is needed: add {\"type\": \"user\"}, \
                 uidMappings and gidMappings, as 'bulkhead spec --rootless' does",
            ));
        }
        let others = [Kind::Network, Kind::Ipc, Kind::Uts, Kind::Cgroup, Kind::Time, Kind::Mount];
        // A privileged runtime has capabilities over every namespace. An unprivileged runtime has
        // them only over those that belong to the user namespace that it enters.
        let join_before_user =
            host.is_privileged() && others.iter().any(|kind| namespaces.is_joined(*kind));
        let late_user = match namespaces.user {
            Choice::Inherit => false,
            Choice::Join(_) => true,
            // Before it is entered, a pid namespace must be joined that belongs to another.
            Choice::New => {
                join_before_user || host.is_privileged() && namespaces.is_joined(Kind::Pid)
            }
        };
        let trampoline = late_user && namespaces.pid == Choice::New;
        let mut clone_flags = 0;
        if namespaces.user == Choice::New && !late_user {
            clone_flags |= libc::CLONE_NEWUSER;
        }
        if namespaces.pid == Choice::New && !trampoline {
            clone_flags |= libc::CLONE_NEWPID;
        }
        let unshare_flags = others
            .iter()
            .filter(|kind| **kind != Kind::Cgroup && *namespaces.get(**kind) == Choice::New)
            .fold(0, |flags, kind| flags | *kind as i32);
        Ok(Route {
            clone_flags,
            late_user,
            trampoline,
            joins_pid: namespaces.is_joined(Kind::Pid),
            is_privileged: host.is_privileged(),
            may_trace: host.may_trace(),
            join_before_user,
            unshare_flags,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cred::Caps;

    fn host(root: bool) -> Host {
        let all = if root { u64::MAX } else { 0 };
        Host {
            uid: if root { 0 } else { 1000 },
            gid: 0,
            caps: Caps { effective: all, permitted: all, inheritable: 0 },
            is_rootless: !root,
            in_user_namespace: false,
        }
    }

    fn join() -> Choice {
        Choice::Join("/proc/1/ns/x".into())
    }

    #[test]
    fn the_default_container_takes_one_clone() {
        let namespaces = Namespaces {
            pid: Choice::New,
            mount: Choice::New,
            network: Choice::New,
            ipc: Choice::New,
            uts: Choice::New,
            cgroup: Choice::New,
            ..Namespaces::default()
        };
        let route = Route::new(&namespaces, &host(true)).unwrap();
        assert_eq!(route.clone_flags, libc::CLONE_NEWPID);
        assert!(!route.trampoline && !route.late_user && !route.join_before_user);
        let expected =
            libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        assert_eq!(route.unshare_flags, expected);
    }

    #[test]
    fn new_user_and_pid_are_in_the_clone() {
        let namespaces =
            Namespaces { user: Choice::New, pid: Choice::New, ..Namespaces::default() };
        let route = Route::new(&namespaces, &host(false)).unwrap();
        assert_eq!(route.clone_flags, libc::CLONE_NEWPID | libc::CLONE_NEWUSER);
        assert!(!route.trampoline);
    }

    #[test]
    fn a_joined_user_namespace_with_a_new_pid_namespace_needs_the_go_between() {
        let namespaces = Namespaces { user: join(), pid: Choice::New, ..Namespaces::default() };
        let route = Route::new(&namespaces, &host(true)).unwrap();
        assert!(route.trampoline && route.late_user);
        assert_eq!(route.clone_flags, 0);
        let namespaces = Namespaces { user: join(), ..Namespaces::default() };
        assert!(!Route::new(&namespaces, &host(true)).unwrap().trampoline);
    }

    #[test]
    fn a_host_network_namespace_is_joined_before_a_new_user_namespace() {
        let namespaces = Namespaces {
            user: Choice::New,
            network: join(),
            pid: Choice::New,
            ..Namespaces::default()
        };
        let route = Route::new(&namespaces, &host(true)).unwrap();
        assert!(route.join_before_user && route.late_user && route.trampoline);
        let route = Route::new(&namespaces, &host(false)).unwrap();
        assert!(!route.join_before_user && !route.late_user && !route.trampoline);
    }

    #[test]
    fn a_joined_pid_namespace_is_entered_last() {
        for (user, root) in [(Choice::Inherit, true), (join(), true), (join(), false)] {
            let namespaces = Namespaces { pid: join(), user, ..Namespaces::default() };
            let route = Route::new(&namespaces, &host(root)).unwrap();
            assert!(route.joins_pid && !route.trampoline, "{namespaces:?}");
            assert_eq!(route.clone_flags & libc::CLONE_NEWPID, 0);
        }
    }

    #[test]
    fn a_new_user_namespace_is_made_after_a_pid_namespace_is_joined() {
        let namespaces = Namespaces { pid: join(), user: Choice::New, ..Namespaces::default() };
        let route = Route::new(&namespaces, &host(true)).unwrap();
        assert!(route.joins_pid && route.late_user && !route.trampoline);
        assert_eq!(route.clone_flags, 0);
    }
}
