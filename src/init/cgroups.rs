//! The container's view of the cgroup tree: a mount of type `cgroup`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;

use super::inherited::Init;
use super::outward::Outward;
use crate::cgroup::{CgroupMount, Layout, Record};
use crate::config::options::{MountAttr, SuperFlags};
use crate::config::{Choice, Mount};
use crate::fs::Root;
use crate::mount::closing::close_later;
use crate::mount::filesystem::{self, make};
use crate::mount::{options, tree};
use crate::sys::mount::Change;
use crate::{Context, Error, Kind, Result};

/// On v2 the one hierarchy; on v1 and hybrid a tmpfs with a directory for each hierarchy.
pub(crate) fn mount(
    init: &Init<'_>,
    root: &Root,
    mount: &Mount,
    outward: &Outward,
) -> Result<OwnedFd> {
    let target = root.make_dir(&mount.destination)?;
    let view = View::new(init, mount);
    let mut parts = init.cgroups.mounts();
    if parts.is_empty() {
        // A container without a cgroup of its own is in the cgroup of the runtime, and shows that.
        parts = Record::of_caller(&Layout::probe()?).mounts();
    }
    match parts.as_slice() {
        [] => Err(Error::new(Kind::Invalid, "the container has no cgroup to show")),
        [CgroupMount::Unified { name, dir }] if name.is_empty() => {
            let tree = view.unified(dir)?;
            options::apply_propagation(tree.as_fd(), mount)?;
            outward.attach(root, tree.as_fd(), target)?;
            Ok(tree)
        }
        parts => view.many(parts, mount, |top| outward.attach(root, top, target)),
    }
}

struct View<'a> {
    private: bool,
    label: Option<&'a str>,
    attributes: u64,
    clear: u64,
}

impl<'a> View<'a> {
    fn new(init: &Init<'a>, mount: &Mount) -> View<'a> {
        let private = init.plan.namespaces.cgroup != Choice::Inherit;
        let (MountAttr(mut attributes), MountAttr(mut clear)) = mount.options.of_one_mount();
        // In a user namespace, the tree of the host may be owned by the same user outside
        // (CVE-2023-25809): it is mounted read-only.
        if !private && init.plan.namespaces.has_user() {
            attributes |= MountAttr::RDONLY.0;
            clear &= !MountAttr::RDONLY.0;
        }
        View { private, label: init.plan.mount_label.as_deref(), attributes, clear }
    }

    fn unified(&self, dir: &Path) -> Result<OwnedFd> {
        if self.private {
            return make("cgroup2", "cgroup", None, SuperFlags::default(), &[], self.attributes);
        }
        self.bind(dir)
    }

    fn v1(&self, options: &[String], dir: &Path) -> Result<OwnedFd> {
        if !self.private {
            return self.bind(dir);
        }
        let data: Vec<_> = options
            .iter()
            .map(|option| match option.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (option.clone(), None),
            })
            .collect();
        make("cgroup", "cgroup", None, SuperFlags::default(), &data, self.attributes)
    }

    /// Binds the container's own part of the host's tree, and nothing above it.
    fn bind(&self, dir: &Path) -> Result<OwnedFd> {
        let tree = tree::clone_path(dir, false).with_context(|| format!("open {dir:?}"))?;
        let propagation = libc::MS_PRIVATE;
        let change = Change { set: self.attributes, clear: self.clear, propagation };
        tree::set(tree.as_fd(), false, change).with_context(|| format!("bind {dir:?}"))?;
        Ok(tree)
    }

    fn many(
        &self,
        parts: &[CgroupMount],
        mount: &Mount,
        attach: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
    ) -> Result<OwnedFd> {
        let writable = self.attributes & !MountAttr::RDONLY.0;
        let top = filesystem::tmpfs(&[("mode", "755")], self.label, writable)?;
        attach(top.as_fd())?;
        for part in parts {
            match part {
                CgroupMount::Unified { name, dir } => {
                    attach_below(top.as_fd(), name, self.unified(dir)?)?;
                }
                CgroupMount::V1 { name, options, dir } => {
                    attach_below(top.as_fd(), name, self.v1(options, dir)?)?;
                }
                CgroupMount::Link { name, target } => {
                    rustix::fs::symlinkat(target.as_str(), &top, name.as_str())
                        .with_context(|| format!("link {name:?}"))?;
                }
            }
        }
        if self.attributes & MountAttr::RDONLY.0 != 0 && !mount.read_only_late {
            tree::set_read_only(top.as_fd()).context("make it read-only")?;
        }
        options::apply_propagation(top.as_fd(), mount)?;
        Ok(top)
    }
}

fn attach_below(top: BorrowedFd<'_>, name: &str, tree: OwnedFd) -> Result<()> {
    let put = || -> Result<()> {
        // By name: the tmpfs is new, and no other process has its descriptor.
        rustix::fs::mkdirat(top, name, Mode::from_raw_mode(0o755))?;
        tree::attach_at(&tree, top, name)?;
        close_later(tree);
        Ok(())
    };
    put().with_context(|| format!("mount hierarchy {name:?}"))
}
