//! The root file system of a container: the mounts of the request, on `rootfs` in the bundle.

use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::proto::task::Mount;
use crate::wire::rpc::{Code, Failure};

/// The longest options that mount(2) takes: a page, with room for the kernel's own.
const LONGEST: usize = 4096 - 512;

/// The most mounts on one directory that are removed.
const STACKED: usize = 64;

/// Makes the mounts on `rootfs`. After an error, none is left.
pub fn mount_all(mounts: &[Mount], rootfs: &Path) -> Result<(), Failure> {
    if mounts.is_empty() {
        return Ok(());
    }
    if let Err(error) = std::fs::create_dir(rootfs)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(failed(&rootfs.display(), error));
    }
    mounts.iter().try_for_each(|mount| make(mount, rootfs)).inspect_err(|_| unmount(rootfs))
}

/// Removes every mount on `rootfs`, with what is mounted below.
pub fn unmount(rootfs: &Path) {
    for _ in 0..STACKED {
        // At once if nothing uses it: a device is free for its owner only then.
        let plain = umount2(rootfs, MntFlags::UMOUNT_NOFOLLOW);
        let done = plain.or_else(|errno| match errno {
            Errno::EBUSY => umount2(rootfs, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH),
            errno => Err(errno),
        });
        match done {
            Ok(()) => {}
            // No mount is left, or no directory.
            Err(Errno::EINVAL | Errno::ENOENT) => return,
            Err(errno) => {
                log::warn!("unmount {}: {}", rootfs.display(), errno.desc());
                return;
            }
        }
    }
}

fn make(request: &Mount, rootfs: &Path) -> Result<(), Failure> {
    let target = below(rootfs, &request.target)?;
    let Options { flags, clear, propagation, data } = Options::parse(&request.options)?;
    let name = || format!("mount {} on {}", request.source, target.display());
    let call = |source: Option<&str>, kind: Option<&str>, flags: MsFlags, data: Option<&str>| {
        mount(source, &target, kind, flags, data).map_err(|errno| failed(&name(), errno.desc()))
    };
    let binds = flags.contains(MsFlags::MS_BIND);
    let kind = Some(request.kind.as_str()).filter(|kind| !binds && !kind.is_empty());
    let source = Some(request.source.as_str());
    if data.len() < LONGEST {
        call(source, kind, flags, Some(data.as_str()).filter(|data| !data.is_empty()))?;
    } else {
        let (dir, data) = relative(&data);
        let here = |dir: &Path| {
            std::env::set_current_dir(dir).map_err(|error| failed(&dir.display(), error))
        };
        // The program has one thread.
        here(&dir)?;
        let mounted = call(source, kind, flags, Some(&data));
        here(Path::new("/"))?;
        mounted?;
    }
    if !propagation.is_empty() {
        call(None, None, propagation, None)?;
    }
    // mount(2) ignores other flags together with MS_BIND.
    if binds && flags.intersects(!(MsFlags::MS_BIND | MsFlags::MS_REC)) {
        call(None, None, (flags | MsFlags::MS_REMOUNT) - clear, None)?;
    }
    Ok(())
}

/// Joins a target below the root file system, which must not lead out of it.
fn below(rootfs: &Path, target: &str) -> Result<PathBuf, Failure> {
    let mut path = rootfs.to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            _ => return Err(failed(&format!("mount target {target:?}"), "leads out")),
        }
        let link = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
        if link {
            return Err(failed(&format!("mount target {target:?}"), "a symbolic link"));
        }
    }
    Ok(path)
}

/// The options of a mount.
#[derive(Debug)]
struct Options {
    flags: MsFlags,
    clear: MsFlags,
    propagation: MsFlags,
    data: String,
}

impl Options {
    fn parse(words: &[String]) -> Result<Options, Failure> {
        let (mut flags, mut clear) = (MsFlags::empty(), MsFlags::empty());
        let (mut propagation, mut data) = (MsFlags::empty(), Vec::new());
        for word in words {
            if let Some((sets, flag)) = flag(word) {
                flags.set(flag, sets);
                clear.set(flag, !sets);
            } else if let Some(kind) = propagated(word) {
                propagation |= kind;
            } else if word == "loop"
                || word.starts_with("X-")
                || word.starts_with("uidmap=")
                || word.starts_with("gidmap=")
            {
                let why = "not supported by this shim";
                return Err(Failure::new(
                    Code::InvalidArgument,
                    format!("mount option {word:?}: {why}"),
                ));
            } else if !matches!(word.as_str(), "" | "defaults") {
                data.push(word.as_str());
            }
        }
        Ok(Options { flags, clear, propagation, data: data.join(",") })
    }
}

/// Returns whether a word sets or clears a flag.
fn flag(word: &str) -> Option<(bool, MsFlags)> {
    Some(match word {
        "bind" => (true, MsFlags::MS_BIND),
        "rbind" => (true, MsFlags::MS_BIND | MsFlags::MS_REC),
        "ro" => (true, MsFlags::MS_RDONLY),
        "rw" => (false, MsFlags::MS_RDONLY),
        "nosuid" => (true, MsFlags::MS_NOSUID),
        "suid" => (false, MsFlags::MS_NOSUID),
        "nodev" => (true, MsFlags::MS_NODEV),
        "dev" => (false, MsFlags::MS_NODEV),
        "noexec" => (true, MsFlags::MS_NOEXEC),
        "exec" => (false, MsFlags::MS_NOEXEC),
        "sync" => (true, MsFlags::MS_SYNCHRONOUS),
        "async" => (false, MsFlags::MS_SYNCHRONOUS),
        "dirsync" => (true, MsFlags::MS_DIRSYNC),
        "remount" => (true, MsFlags::MS_REMOUNT),
        "mand" => (true, MsFlags::MS_MANDLOCK),
        "nomand" => (false, MsFlags::MS_MANDLOCK),
        "noatime" => (true, MsFlags::MS_NOATIME),
        "atime" => (false, MsFlags::MS_NOATIME),
        "nodiratime" => (true, MsFlags::MS_NODIRATIME),
        "diratime" => (false, MsFlags::MS_NODIRATIME),
        "relatime" => (true, MsFlags::MS_RELATIME),
        "norelatime" => (false, MsFlags::MS_RELATIME),
        "strictatime" => (true, MsFlags::MS_STRICTATIME),
        "nostrictatime" => (false, MsFlags::MS_STRICTATIME),
        _ => return None,
    })
}

fn propagated(word: &str) -> Option<MsFlags> {
    let (recursive, kind) = match word.strip_prefix('r') {
        Some(kind) => (MsFlags::MS_REC, kind),
        None => (MsFlags::empty(), word),
    };
    let kind = match kind {
        "private" => MsFlags::MS_PRIVATE,
        "shared" => MsFlags::MS_SHARED,
        "slave" => MsFlags::MS_SLAVE,
        "unbindable" => MsFlags::MS_UNBINDABLE,
        _ => return None,
    };
    Some(recursive | kind)
}

/// Shortens the options of an overlay with many layers: makes the layers relative to the directory
/// that they share. Returns the directory and the options.
fn relative(data: &str) -> (PathBuf, String) {
    let layers: Vec<&str> = data
        .split(',')
        .find_map(|word| word.strip_prefix("lowerdir="))
        .map(|layers| layers.split(':').collect())
        .unwrap_or_default();
    let mut shared =
        layers.first().and_then(|first| Path::new(first).parent()).unwrap_or("/".as_ref());
    while !layers.iter().all(|layer| Path::new(layer).starts_with(shared)) {
        shared = shared.parent().unwrap_or("/".as_ref());
    }
    let shorten = |layer: &&str| {
        let path = Path::new(layer).strip_prefix(shared).unwrap_or(layer.as_ref());
        path.to_string_lossy().into_owned()
    };
    let words: Vec<String> = data
        .split(',')
        .map(|word| match word.starts_with("lowerdir=") {
            true => {
                format!("lowerdir={}", layers.iter().map(shorten).collect::<Vec<_>>().join(":"))
            }
            false => word.to_owned(),
        })
        .collect();
    (shared.to_owned(), words.join(","))
}

fn failed(what: &dyn std::fmt::Display, why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Unknown, format!("{what}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, Failure> {
        Options::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_flags_propagation_or_data() {
        let options = parse(&["rbind", "ro", "rprivate", "index=off", "lowerdir=/a:/b"]).unwrap();
        assert_eq!(options.flags, MsFlags::MS_BIND | MsFlags::MS_REC | MsFlags::MS_RDONLY);
        assert_eq!(options.propagation, MsFlags::MS_PRIVATE | MsFlags::MS_REC);
        assert_eq!(options.data, "index=off,lowerdir=/a:/b");
        assert!(!parse(&["ro", "rw"]).unwrap().flags.contains(MsFlags::MS_RDONLY));
        assert_eq!(parse(&["remount"]).unwrap().flags, MsFlags::MS_REMOUNT);
        assert!(parse(&["loop"]).unwrap_err().message.contains("loop"));
    }

    #[test]
    fn many_layers_are_made_relative() {
        let data = "workdir=/v/s/9/work,upperdir=/v/s/9/fs,lowerdir=/v/s/1/fs:/v/s/22/fs";
        let (dir, short) = relative(data);
        assert_eq!(dir, Path::new("/v/s"));
        assert_eq!(short, "workdir=/v/s/9/work,upperdir=/v/s/9/fs,lowerdir=1/fs:22/fs");
    }

    #[test]
    fn a_target_stays_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(below(root, "/a/./b").unwrap(), root.join("a/b"));
        assert!(below(root, "../a").is_err());
        std::os::unix::fs::symlink("/etc", root.join("l")).unwrap();
        assert!(below(root, "l/x").is_err());
    }
}
