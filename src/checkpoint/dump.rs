//! Writes the images of a running container.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::runtime::Spec;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::external::{self, Parts};
use super::images::Directories;
use super::rpc::{Opts, Type};
use super::service::{Service, Start};
use super::settings::Settings;
use super::{config_file, descriptors};
use crate::config::{IdMaps, Namespaces, devices, mounts};
use crate::fs::{PATH, Root};
use crate::host::Host;
use crate::sd_notify;
use crate::spawn::Parent;
use crate::spawn::maps::read_map;
use crate::state::{Entry, State, Status};
use crate::terminal::signals::Ignored;
use crate::{Context, Error, Kind, Result};

/// The parameters of a dump.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Dump {
    /// The directory of earlier images, relative to that of the new images.
    pub parent_images: Option<PathBuf>,
    /// Whether only memory is saved, and the container goes on.
    pub pre_dump: bool,
    /// Whether the container goes on after the dump.
    pub leave_running: bool,
    /// The descriptor that gets a zero byte when the server of lazy pages is ready.
    #[serde(skip)]
    pub status: Option<Arc<OwnedFd>>,
}

/// Saves a container whose lock is held. Its processes have ended afterwards, unless `dump` leaves
/// them running; after an error they go on.
pub fn dump(container: &Entry, parent: Parent<'_>, settings: &Settings, dump: &Dump) -> Result<()> {
    let missing = || Error::new(Kind::State, "container not running");
    let state = container.state().ok_or_else(missing)?;
    let mut opts = opts(container, state, settings, dump)?;
    let directories = Directories::open(settings, true, "dump.log")?;
    admit_root(state.pid, &directories)?;
    check_parent(settings, dump)?;
    opts.log_file = Some(directories.log().to_owned());
    let signals = Ignored::of_this_process()?;
    let service = Service::start(&Start {
        settings,
        directories: &directories,
        parent,
        flags: 0,
        cgroup: None,
        stdio: false,
        inherited: &[],
        signals: &signals,
        prepare: &|| Ok(()),
    })?;
    service.run(|service| ask(service, dump, container, &directories, opts))
}

fn ask(
    service: &mut Service<'_>,
    dump: &Dump,
    container: &Entry,
    directories: &Directories,
    opts: Opts,
) -> Result<()> {
    service.execute()?;
    let kind = if dump.pre_dump {
        service.require("--pre-dump: memory tracking", |features| features.mem_track)?;
        Type::PreDump
    } else {
        descriptors::save(directories, opts.pid.unwrap_or_default())?;
        Type::Dump
    };
    service.request(kind, opts, &mut |notify, _| match notify.script() {
        "status-ready" => match &dump.status {
            Some(status) => nix::unistd::write(status, b"\0").map(drop).context("--status-fd"),
            None => Ok(()),
        },
        // CRIU knows the process by its id alone, which another process can have got since then.
        "post-dump" if container.status()? == Status::Stopped => {
            Err(Error::new(Kind::State, "the container has stopped meanwhile"))
        }
        _ => Ok(()),
    })
}

/// Lets the root user of the container's user namespace open the images, for a restore.
fn admit_root(pid: i32, directories: &Directories) -> Result<()> {
    match IdMaps::outside(&read_map(pid, "gid_map")?, 0) {
        Some(0) | None => Ok(()),
        Some(gid) => directories.admit(gid),
    }
}

/// Refuses a parent that is not a directory, or not relative to the images, which CRIU would ignore.
fn check_parent(settings: &Settings, dump: &Dump) -> Result<()> {
    let Some(parent) = &dump.parent_images else { return Ok(()) };
    let invalid = |why: &str| Err(Error::invalid("--parent-path", parent, why));
    if parent.is_absolute() {
        return invalid("must be relative to the image directory");
    }
    let path = settings.images.join(parent);
    let metadata = std::fs::metadata(&path).with_context(|| format!("--parent-path: {path:?}"))?;
    if metadata.is_dir() { Ok(()) } else { invalid("not a directory") }
}

fn opts(container: &Entry, state: &State, settings: &Settings, dump: &Dump) -> Result<Opts> {
    let config = container.config()?;
    let linux = config.linux().as_ref();
    let namespaces = Namespaces::new(linux.and_then(|linux| linux.namespaces().as_ref()))?;
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| Error::invalid("checkpoint", path, "not UTF-8"))
    };
    let freezer = state.cgroup.freezer_path()?;
    let mut opts = Opts {
        pid: Some(state.pid),
        root: Some(text(&state.rootfs)?),
        leave_running: Some(dump.leave_running),
        parent_img: dump.parent_images.as_deref().map(text).transpose()?,
        track_mem: dump.parent_images.is_some().then_some(true),
        freeze_cgroup: freezer.as_deref().map(text).transpose()?,
        external: external::namespaces_to_dump(&namespaces, state.pid)?,
        config_file: config_file(&state.annotations)?,
        ..settings.opts()
    };
    // The mount of its readiness socket would be missing at restore.
    if rustix::fs::accessat(container.dir(), sd_notify::DIR, Access::EXISTS, AtFlags::empty())
        .is_ok()
    {
        return Err(Error::unsupported("checkpoint of a container with NOTIFY_SOCKET"));
    }
    if !dump.pre_dump {
        opts.external_mounts = external_mounts(&config, state, &namespaces)?;
    }
    Ok(opts)
}

fn external_mounts(
    config: &Spec,
    state: &State,
    namespaces: &Namespaces,
) -> Result<Vec<super::rpc::Pair>> {
    let host = Host::probe()?;
    let linux = config.linux().as_ref();
    let ids = linux.map(|linux| IdMaps::new(linux, namespaces, &host)).transpose()?.flatten();
    let around = mounts::Surroundings {
        bundle: &state.bundle,
        rootfs: &state.rootfs,
        joins_mount: namespaces.is_joined(crate::config::Kind::Mount),
        users: mounts::Users::of(namespaces, ids.as_ref()),
        label: None,
    };
    let mounts = mounts::parse(config.mounts().iter().flatten(), &around)?;
    let origins = devices::Origins::new(namespaces, &host);
    let populated = !mounts::binds_dev(&mounts, &state.rootfs);
    let listed = linux.and_then(|linux| linux.devices().as_ref());
    let devices = devices::parse(listed, origins, populated)?;
    let masked = linux.and_then(|linux| linux.masked_paths().as_ref());
    let masked: Vec<PathBuf> = masked.into_iter().flatten().map(PathBuf::from).collect();
    let path = format!("/proc/{}/root", state.pid);
    let root = rustix::fs::openat(CWD, &path, PATH | OFlags::DIRECTORY, Mode::empty());
    let root = Root::new(root.with_context(|| format!("open {path}"))?);
    let parts = Parts { namespaces, mounts: &mounts, devices: &devices, cgroup: &state.cgroup };
    external::to_dump(&parts, &masked, &root)
}
