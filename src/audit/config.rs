//! The facts of a configuration.
//!
//! They are read from the JSON text and not from the types of the parser: a configuration that the
//! parser refuses is audited too. A member of a wrong type counts as absent; the refusal is a
//! finding of its own.

use std::path::Path;
use std::str::FromStr;

use caps::Capability;
use oci_spec::runtime::Spec;
use serde_json::Value;

use super::subject::{
    Caps, HIDDEN, Misspelt, Mount, PROCESSES, Place, Subject, Users, contains, normal,
};
use super::{binds, calls, devices};
use crate::Result;
use crate::config::{self, CgroupRequest, Plan, PlanOptions};
use crate::host::Host;

/// A configuration, with what was found when it was parsed.
pub struct Document {
    /// The members, with each key in the case of the specification.
    pub value: Value,
    spec: Option<Box<Spec>>,
    misspelt: Vec<Misspelt>,
    invalid: Option<String>,
}

impl Document {
    /// Parses the bytes of a file; `name` is its name in errors.
    ///
    /// # Errors
    /// If the bytes are not a JSON object.
    pub fn parse(raw: Vec<u8>, name: &str) -> Result<Document> {
        let misspelt = config::misspelt(&raw).into_iter().map(|key| Misspelt {
            place: Place::Field(key.pointer),
            meant: key.meant,
            is_read: key.is_read,
        });
        let misspelt = misspelt.collect();
        match config::parse(raw.clone(), name) {
            Ok(loaded) => {
                let value = json(&loaded.raw)?;
                Ok(Document { value, spec: Some(Box::new(loaded.spec)), misspelt, invalid: None })
            }
            Err(error) => {
                let value = json(&raw).map_err(|_| error.clone())?;
                if !value.is_object() {
                    return Err(error);
                }
                let mut texts = error.to_string();
                if let Some(rest) = texts.strip_prefix(&format!("{name}: ")) {
                    texts = rest.to_owned();
                }
                Ok(Document { value, spec: None, misspelt, invalid: Some(texts) })
            }
        }
    }

    /// Returns why the parser has refused the configuration, if it has.
    pub fn invalid(&self) -> Option<&str> {
        self.invalid.as_deref()
    }

    /// Returns why the runtime would refuse to create a container from the configuration in
    /// `bundle` on this host; `None` if it would not, or if the configuration is invalid.
    pub fn refusal(&self, bundle: &Path) -> Option<String> {
        let options = PlanOptions {
            id: "audit".to_owned(),
            bundle: bundle.to_owned(),
            cgroup: CgroupRequest { rootless: true, ..CgroupRequest::default() },
            ..PlanOptions::default()
        };
        let spec = self.spec.as_ref()?;
        let plan = Host::probe().and_then(|host| Plan::new(spec, &options, &host, &mut Vec::new()));
        plan.err().map(|error| error.to_string())
    }

    /// Returns the facts. `bundle` is the directory at which relative paths start; `nested`: the
    /// audit runs in a user namespace, where the ids of the configuration are not those of the
    /// host.
    pub fn subject(&self, bundle: &Path, nested: bool) -> Subject {
        Reader { config: &self.value, bundle, nested }.subject(self)
    }
}

fn json(raw: &[u8]) -> Result<Value> {
    serde_json::from_slice(raw)
        .map_err(|error| crate::Error::new(crate::Kind::Invalid, error.to_string()))
}

/// The user id that stands for no user.
const NOBODY: u64 = 65534;

/// Returns the place of a member.
pub fn field(pointer: &str) -> Place {
    Place::Field(pointer.to_owned())
}

struct Reader<'a> {
    config: &'a Value,
    bundle: &'a Path,
    nested: bool,
}

impl<'a> Reader<'a> {
    fn get(&self, pointer: &str) -> Option<&'a Value> {
        self.config.pointer(pointer).filter(|value| !value.is_null())
    }

    /// Returns a string that is not empty.
    fn text(&self, pointer: &str) -> Option<&'a str> {
        self.get(pointer)?.as_str().filter(|text| !text.is_empty())
    }

    fn flag(&self, pointer: &str) -> bool {
        self.get(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    fn list(&self, pointer: &str) -> &'a [Value] {
        self.get(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn strings(&self, pointer: &str) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
        let list = self.list(pointer).iter().enumerate();
        list.filter_map(|(index, value)| Some((index, value.as_str()?)))
    }

    /// Returns the member, or the nearest object around it that exists.
    fn nearest(&self, pointer: &str) -> Place {
        let mut pointer = pointer;
        while self.get(pointer).is_none() {
            match pointer.rsplit_once('/') {
                Some((above, _)) if !above.is_empty() => pointer = above,
                _ => break,
            }
        }
        field(pointer)
    }

    fn subject(&self, document: &Document) -> Subject {
        let (users, users_place) = self.users();
        // Without a process there is no program that could use a right.
        let has_process = self.get("/process").is_some();
        let no_new_privileges = self.flag("/process/noNewPrivileges") || !has_process;
        let uid = self.get("/process/user/uid").and_then(Value::as_u64);
        let uid = uid.unwrap_or(if has_process { 0 } else { NOBODY });
        let uid = u32::try_from(uid).unwrap_or(u32::MAX);
        let shared_namespaces = self.shared_namespaces();
        Subject {
            users,
            users_place,
            uid,
            uid_place: self.nearest("/process/user/uid"),
            no_new_privileges,
            no_new_privileges_place: self.nearest("/process/noNewPrivileges"),
            caps: self.caps(uid, no_new_privileges),
            mounts: self.mounts(),
            paths_place: ["/linux/maskedPaths", "/linux/readonlyPaths"].map(|p| self.nearest(p)),
            devices: devices::readable(self.config),
            unlimited: self.unlimited(),
            seccomp: calls::of_profile(self.get("/linux/seccomp")),
            seccomp_place: self.nearest("/linux/seccomp"),
            confined_by_lsm: Some(self.has_label()),
            lsm_place: self.nearest("/process/apparmorProfile"),
            infinite_rlimits: self.infinite_rlimits(),
            host_sysctls: self.host_sysctls(&shared_namespaces),
            spared_by_oom_killer: self.spared(),
            shared_namespaces,
            misspelt: document.misspelt.clone(),
            invalid: document.invalid.clone(),
            refused: None,
            unread: Vec::new(),
        }
    }

    fn namespace(&self, kind: &str) -> Option<(usize, Option<&'a str>)> {
        let list = self.list("/linux/namespaces").iter().enumerate();
        let mut found = list.filter(|(_, entry)| entry["type"] == kind);
        let (index, entry) = found.next()?;
        Some((index, entry["path"].as_str().filter(|path| !path.is_empty())))
    }

    fn users(&self) -> (Users, Place) {
        match self.namespace("user") {
            // The runtime is in the user namespace of this audit, as with rootless podman.
            None if self.nested => (Users::Own, self.nearest("/linux/namespaces")),
            None => (Users::Host, self.nearest("/linux/namespaces")),
            Some((index, Some(path))) if binds::is_namespace_of_host(path) => {
                (Users::Host, field(&format!("/linux/namespaces/{index}/path")))
            }
            // The namespace of another container or of a pod, whose mappings its creator chose.
            Some((index, Some(_))) => {
                (Users::Own, field(&format!("/linux/namespaces/{index}/path")))
            }
            Some(_) => {
                let maps = ["/linux/uidMappings", "/linux/gidMappings"];
                let root = maps.iter().find_map(|map| {
                    let entry = self.list(map).iter().position(|entry| {
                        entry["hostID"] == 0 && entry["size"].as_u64().unwrap_or(0) > 0
                    })?;
                    Some(field(&format!("{map}/{entry}/hostID")))
                });
                match root.filter(|_| !self.nested) {
                    Some(place) => (Users::MapsRoot, place),
                    None => (Users::Own, self.nearest("/linux/uidMappings")),
                }
            }
        }
    }

    fn caps(&self, uid: u32, no_new_privileges: bool) -> Caps {
        let set = |name: &str| {
            let names = self.strings(&format!("/process/capabilities/{name}"));
            names.filter_map(|(_, name)| capability(name)).fold(0, |bits, cap| bits | cap)
        };
        let [bounding, permitted, inheritable, ambient] =
            ["bounding", "permitted", "inheritable", "ambient"].map(set);
        let (held, gainable) =
            after_execve(uid, no_new_privileges, [bounding, permitted, inheritable, ambient]);
        let sets = if uid == 0 { ["bounding", "bounding"] } else { ["ambient", "bounding"] };
        let places = sets.map(|set| self.nearest(&format!("/process/capabilities/{set}")));
        Caps { held, gainable, places }
    }

    fn shared_namespaces(&self) -> Vec<(&'static str, Place)> {
        let kinds = ["pid", "network", "ipc", "uts", "cgroup", "mount"];
        let shared = kinds.into_iter().filter_map(|kind| match self.namespace(kind) {
            None => Some((kind, self.nearest("/linux/namespaces"))),
            Some((index, Some(path))) if binds::is_namespace_of_host(path) => {
                Some((kind, field(&format!("/linux/namespaces/{index}/path"))))
            }
            Some(_) => None,
        });
        shared.collect()
    }

    fn mounts(&self) -> Vec<Mount> {
        let mount = |at: &str, kind: &str, readonly, place| Mount {
            at: normal(at),
            kind: kind.to_owned(),
            host: None,
            readonly,
            shared: false,
            place,
        };
        let readonly_root = self.flag("/root/readonly");
        let mut root = mount("/", "rootfs", readonly_root, self.nearest("/root/readonly"));
        let propagation = self.text("/linux/rootfsPropagation").unwrap_or_default();
        root.shared = matches!(propagation, "shared" | "rshared");
        let mut all = vec![root];
        for (index, entry) in self.list("/mounts").iter().enumerate() {
            let Some(at) = entry["destination"].as_str() else { continue };
            let options = entry["options"].as_array().map_or(&[][..], Vec::as_slice);
            let has = |names: &[&str]| {
                options.iter().filter_map(Value::as_str).any(|option| names.contains(&option))
            };
            // The last of the two counts.
            let mut access = options.iter().rev().filter_map(Value::as_str);
            let access = access.find(|option| matches!(*option, "ro" | "rro" | "rw" | "rrw"));
            let readonly = access.is_some_and(|option| option.ends_with("ro"));
            let is_top_only = access == Some("ro") && has(&["rbind"]);
            let kind = entry["type"].as_str().unwrap_or_default();
            // Such a procfs has no files but those of processes.
            let kind = if has(&["subset=pid"]) { PROCESSES } else { kind };
            let mut found = mount(at, kind, readonly, field(&format!("/mounts/{index}")));
            if kind == "bind" || has(&["bind", "rbind"]) {
                let source = self.bundle.join(entry["source"].as_str().unwrap_or_default());
                let host = normal(&source.to_string_lossy());
                found.kind = binds::file_system(&host).unwrap_or("bind").to_owned();
                // `ro` leaves the mounts below as they are; `rro` does not.
                if is_top_only && binds::has_mounts_below(&host) {
                    found.readonly = false;
                }
                found.host = Some(host);
                found.shared = has(&["shared", "rshared"]);
            }
            all.push(found);
        }
        for (index, path) in self.strings("/linux/maskedPaths") {
            all.push(mount(path, HIDDEN, true, field(&format!("/linux/maskedPaths/{index}"))));
        }
        for (index, path) in self.strings("/linux/readonlyPaths") {
            let place = field(&format!("/linux/readonlyPaths/{index}"));
            let below = all.iter().filter(|mount| contains(&mount.at, path));
            let below = below.max_by_key(|mount| mount.at.len());
            let kind = below.map_or("rootfs", |mount| &mount.kind).to_owned();
            all.push(mount(path, &kind, true, place));
        }
        all
    }

    fn unlimited(&self) -> Vec<(&'static str, Place)> {
        let number = |pointer: &str| self.get(pointer).and_then(Value::as_i64).unwrap_or(-1);
        let unified = |name: &str| {
            let value = self.text(&format!("/linux/resources/unified/{name}"));
            value.is_some_and(|value| !value.trim_start().starts_with("max"))
        };
        let memory = number("/linux/resources/memory/limit") > 0 || unified("memory.max");
        // 0 is a limit too: the container can start no further process.
        let pids = number("/linux/resources/pids/limit") >= 0 || unified("pids.max");
        let cpu = number("/linux/resources/cpu/quota") > 0
            || self.text("/linux/resources/cpu/cpus").is_some()
            || unified("cpu.max")
            || unified("cpuset.cpus");
        let limits = [
            ("memory", memory, "/linux/resources/memory/limit"),
            ("pids", pids, "/linux/resources/pids/limit"),
            ("cpu", cpu, "/linux/resources/cpu/quota"),
        ];
        let missing = limits.into_iter().filter(|(_, is_set, _)| !is_set);
        missing.map(|(name, _, pointer)| (name, self.nearest(pointer))).collect()
    }

    fn has_label(&self) -> bool {
        let profile = self.text("/process/apparmorProfile");
        let label = self.text("/process/selinuxLabel");
        profile.is_some_and(|name| name != "unconfined")
            || label.is_some_and(|label| !label.contains(":spc_t") && !label.contains("unconfined"))
    }

    fn infinite_rlimits(&self) -> Vec<(String, Place)> {
        let list = self.list("/process/rlimits").iter().enumerate();
        let infinite = list.filter(|(_, entry)| {
            // RLIM_INFINITY, and what tools write that take it for a signed number.
            entry["hard"].as_u64().is_some_and(|hard| hard >= i64::MAX as u64)
        });
        let named = infinite.filter_map(|(index, entry)| {
            let place = field(&format!("/process/rlimits/{index}/hard"));
            Some((entry["type"].as_str()?.to_owned(), place))
        });
        named.collect()
    }

    fn host_sysctls(&self, shared: &[(&'static str, Place)]) -> Vec<(String, Place)> {
        let Some(Value::Object(sysctls)) = self.get("/linux/sysctl") else { return Vec::new() };
        let of_host = sysctls.keys().filter(|name| {
            match config::sysctl_namespace(name).map(config::kind_name) {
                Some("user") => self.users().0 == Users::Host,
                Some(kind) => shared.iter().any(|(shared, _)| *shared == kind),
                None => true,
            }
        });
        let placed = of_host.map(|name| {
            let key = name.replace('~', "~0").replace('/', "~1");
            (name.clone(), field(&format!("/linux/sysctl/{key}")))
        });
        placed.collect()
    }

    fn spared(&self) -> Option<Place> {
        let pointer = "/process/oomScoreAdj";
        let score = self.get(pointer)?.as_i64()?;
        (score <= -900).then(|| field(pointer))
    }
}

/// Returns the bit of a capability, with or without `CAP_` and in any case, as the parser takes it.
fn capability(name: &str) -> Option<u64> {
    let name = name.to_ascii_uppercase();
    let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
    Capability::from_str(&name).ok().map(|capability| capability.bitmask())
}

/// Returns the capabilities of the program after execve(2), and those that it can gain by a further
/// execve(2) of a set-user-ID program or a program with file capabilities (capabilities(7)). The
/// sets are bounding, permitted, inheritable and ambient.
pub fn after_execve(uid: u32, no_new_privileges: bool, sets: [u64; 4]) -> (u64, u64) {
    let [bounding, permitted, inheritable, ambient] = sets;
    // The kernel gives root every capability of the two sets, whatever was permitted before.
    let of_root = bounding | inheritable;
    let held = match (uid, no_new_privileges) {
        (0, false) => of_root,
        (0, true) => of_root & permitted,
        _ => ambient & permitted & inheritable,
    };
    let gainable = if no_new_privileges { held } else { of_root | held };
    (held, gainable & !held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_follow_the_rules_of_the_kernel() {
        // Bounding, permitted, inheritable, ambient.
        let sets = [0b1111, 0b0011, 0b0001, 0b0001];
        assert_eq!(after_execve(0, false, sets), (0b1111, 0));
        assert_eq!(after_execve(0, true, sets), (0b0011, 0));
        assert_eq!(after_execve(1000, false, sets), (0b0001, 0b1110));
        assert_eq!(after_execve(1000, true, sets), (0b0001, 0));
        assert_eq!(capability("sys_admin"), Some(1 << 21));
        assert_eq!(capability("CAP_NONE"), None);
    }
}
