//! Containers of a user without privileges: nobody calls the runtime.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::chown;

use super::{Container, copy_program};

/// The user and the group.
pub const NOBODY: u32 = 65534;

/// A file or directory with all that is in it.
pub fn give_to_nobody(path: &Path) {
    chown(path, Some(NOBODY.into()), Some(NOBODY.into())).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_type().unwrap().is_symlink() {
                give_to_nobody(&entry.path());
            }
        }
    }
}

/// A container that nobody runs, root inside being nobody outside.
pub fn of_nobody(script: &str) -> Container {
    let mut c = Container::with_script(script);
    c.map_users(NOBODY, 1);
    // Neither cgroups nor the system's sysfs are an ordinary user's.
    c.remove("/linux/cgroupsPath").remove("/linux/resources");
    let mounts = c.config["mounts"].as_array().unwrap().clone();
    let mounts = mounts.into_iter().filter(|mount| mount["destination"] != "/sys").collect();
    c.set("/mounts", mounts);
    // The build's directory may be closed to others.
    let copy = c.path().join("runtime");
    copy_program(&c.rt.binary, &copy);
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    c.rt.binary = copy;
    give_to_nobody(c.path());
    through(&mut c, "");
    c
}

/// As nobody, after `first` has run as root in a private mount namespace.
pub fn through(c: &mut Container, first: &str) {
    let words = format!(
        "{first}\nexec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=-all \"$@\""
    );
    c.rt.through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &words, "sh"]
        .iter()
        .map(Into::into)
        .collect();
}
