//! The mounts of a process (proc_pid_mountinfo(5)), and the paths of the host that they show.

use super::subject::{Mount, PROCESSES, Place, contains, normal};

/// A line of mountinfo.
struct Line {
    device: String,
    root: String,
    at: String,
    readonly: bool,
    peers: Option<String>,
    kind: String,
}

/// Returns the mounts of the container in the order of its mountinfo, `host` being that of the
/// caller. `place` is the name of the file.
pub fn mounts(own: &str, host: &str, place: &str) -> Vec<Mount> {
    let host: Vec<Line> = host.lines().filter_map(line).collect();
    let mounts = own.lines().filter_map(line).map(|line| Mount {
        // Mounts that appear below a peer of the host are the host's too.
        shared: line.peers.is_some() && host.iter().any(|other| other.peers == line.peers),
        host: host_path(&line, &host),
        readonly: line.readonly,
        place: Place::Kernel(format!("{place}: {}", line.at)),
        at: line.at,
        kind: line.kind,
    });
    mounts.collect()
}

/// Returns the path on the host of what is mounted: a mount of the host shows the same file system,
/// and its root has the root of this mount. The mount with the shortest root is the usual one.
fn host_path(line: &Line, host: &[Line]) -> Option<String> {
    let around = host
        .iter()
        .filter(|other| other.device == line.device && contains(&other.root, &line.root));
    let found = around.min_by_key(|other| other.root.len())?;
    let rest = line.root.strip_prefix(found.root.trim_end_matches('/'))?;
    Some(normal(&format!("{}/{rest}", found.at)))
}

fn line(text: &str) -> Option<Line> {
    let mut fields = text.split(' ');
    let device = fields.nth(2)?.to_owned();
    let root = unescaped(fields.next()?);
    let at = unescaped(fields.next()?);
    let options = fields.next()?;
    let mut optional = fields.by_ref().take_while(|field| *field != "-");
    let peers = optional.find(|field| field.starts_with("shared:")).map(str::to_owned);
    // The rest of the optional fields.
    optional.for_each(drop);
    let mut kind = text.split(" - ").nth(1)?.split(' ');
    let (kind, super_options) = (kind.next()?.to_owned(), kind.nth(1).unwrap_or_default());
    let kind = match super_options.split(',').any(|option| option == "subset=pid") {
        true => PROCESSES.to_owned(),
        false => kind,
    };
    let has_ro = |options: &str| options.split(',').any(|option| option == "ro");
    let readonly = has_ro(options) || has_ro(super_options);
    Some(Line { device, root, at, readonly, peers, kind })
}

/// Returns a path with its octal escapes (`\040`) replaced.
fn unescaped(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / /run rw,nosuid shared:5 - tmpfs tmpfs rw
24 22 8:1 /srv/data /mnt rw - ext4 /dev/sda1 rw
25 22 0:5 / /proc rw - proc proc rw
";

    #[test]
    fn paths_of_the_host_are_found_by_device_and_root() {
        let own = "\
100 1 0:50 / / rw,relatime master:1 - overlay overlay rw,lowerdir=a
101 100 0:51 / /proc rw,nosuid - proc proc rw
102 101 0:51 /sys /proc/sys ro,nosuid - proc proc rw
103 100 0:20 /docker.sock /run/docker.sock rw - tmpfs tmpfs rw
104 100 8:1 /etc /host\\040etc ro,relatime shared:1 master:2 - ext4 /dev/sda1 rw
105 100 8:1 /srv/data/x /data rw shared:9 - ext4 /dev/sda1 ro
106 100 0:5 / /host/proc rw - proc proc rw
107 100 8:1 / /host rw - ext4 /dev/sda1 rw
";
        let mounts = mounts(own, HOST, "/proc/7/mountinfo");
        let seen: Vec<_> = mounts
            .iter()
            .map(|m| (m.at.as_str(), m.kind.as_str(), m.host.as_deref(), m.readonly, m.shared))
            .collect();
        assert_eq!(
            seen,
            [
                ("/", "overlay", None, false, false),
                ("/proc", "proc", None, false, false),
                ("/proc/sys", "proc", None, true, false),
                ("/run/docker.sock", "tmpfs", Some("/run/docker.sock"), false, false),
                ("/host etc", "ext4", Some("/etc"), true, true),
                ("/data", "ext4", Some("/srv/data/x"), true, false),
                ("/host/proc", "proc", Some("/proc"), false, false),
                ("/host", "ext4", Some("/"), false, false),
            ]
        );
        assert_eq!(mounts[4].place.to_string(), "/proc/7/mountinfo: /host etc");
    }

    #[test]
    fn lines_that_are_none_are_skipped() {
        assert!(mounts("x\n\n1 2 3\n", HOST, "").is_empty());
    }
}
