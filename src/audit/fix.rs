//! Changes a configuration so that findings of medium severity and worse are closed where a change is
//! known.
//!
//! Findings of low severity stay, and so does what needs a decision: which user the program runs
//! as, and which ids a user namespace maps.

use serde::Serialize;
use serde_json::{Value, json};

use super::rule::{Find, Finding, Severity};
use super::subject::Place;

/// A change, with what it can break.
#[derive(Debug, Serialize)]
pub struct Change {
    /// The rule whose finding it closes.
    pub rule: &'static str,
    /// The place.
    pub place: String,
    /// The change that was made.
    pub change: String,
    /// What can stop working; empty for nothing.
    pub breaks: &'static str,
}

/// The profile for a configuration without one.
const PROFILE: &str = include_str!("../../seccomp-profiles/default.json");

/// Changes `config`. Returns the changes, in the order of the findings.
pub fn fix(config: &mut Value, findings: &[Finding]) -> Vec<Change> {
    let mut editor = Editor { config, removed: Vec::new() };
    let mut changes = Vec::new();
    for finding in findings {
        // This one breaks little, and the rules about capabilities count on it.
        let is_cheap = finding.rule.id == "BH-PRIVILEGES-GAIN";
        if finding.severity < Severity::Medium && !is_cheap {
            continue;
        }
        if let Some(change) = editor.repair(finding) {
            changes.push(Change {
                rule: finding.rule.id,
                place: finding.place.to_string(),
                change,
                breaks: finding.rule.breaks,
            });
        }
    }
    editor.remove_elements();
    changes
}

struct Editor<'a> {
    config: &'a mut Value,
    /// The arrays and indices of elements to remove at the end, so that places stay valid.
    removed: Vec<(String, usize)>,
}

impl Editor<'_> {
    /// Closes a finding. Returns what was done; `None` if it needs a decision.
    fn repair(&mut self, finding: &Finding) -> Option<String> {
        let Place::Field(pointer) = &finding.place else { return None };
        if let Find::Capability(capability) = finding.rule.find {
            return self.drop_capability(&capability.to_string());
        }
        match finding.rule.id {
            "BH-BIND-SOCKET" => self.remove(pointer),
            "BH-BIND-HOST" => self.bind(pointer, finding),
            "BH-CGROUP-WRITABLE" | "BH-SYS-WRITABLE" => self.read_only(pointer),
            "BH-DEVICE-ALL" => self.set(
                "/linux/resources/devices",
                json!([{"allow": false, "access": "rwm"}]),
                "denied all devices but those that every container has",
            ),
            id if id.starts_with("BH-DEVICE-") => self.remove(pointer),
            "BH-KEY-CASE" => Some("wrote the key as the specification does".to_owned()),
            "BH-KEY-MISSPELT" => self.rename(pointer, &finding.object),
            "BH-NS-CGROUP" => self.unshare("cgroup"),
            "BH-NS-IPC" => self.unshare("ipc"),
            "BH-NS-MOUNT" => self.unshare("mount"),
            "BH-NS-NETWORK" => self.unshare("network"),
            "BH-NS-PID" | "BH-PTRACE-HOST" => self.unshare("pid"),
            "BH-PRIVILEGES-GAIN" => {
                self.set("/process/noNewPrivileges", json!(true), "set noNewPrivileges")
            }
            "BH-PROC-SYS" | "BH-PROC-SYSRQ" | "BH-PROC-WRITABLE" => {
                self.add_paths("/linux/readonlyPaths", &finding.object)
            }
            "BH-PROC-UNMASKED" => self.add_paths("/linux/maskedPaths", &finding.object),
            "BH-PROPAGATION-SHARED" => self.unshare_mounts(pointer),
            "BH-SECCOMP-NONE" | "BH-SECCOMP-DEFAULT-ALLOW" => {
                let profile = serde_json::from_str(PROFILE).ok()?;
                self.set("/linux/seccomp", profile, "set the profile default.json of bulkhead")
            }
            id if id.starts_with("BH-SECCOMP-") => self.forbid(&finding.object),
            "BH-SYSCTL-HOST" => self.remove_member(pointer),
            _ => None,
        }
    }

    fn array(&mut self, pointer: &str) -> Option<&mut Vec<Value>> {
        self.config.pointer_mut(pointer)?.as_array_mut()
    }

    /// Sets a member, and makes the objects around it.
    fn set(&mut self, pointer: &str, value: Value, done: &str) -> Option<String> {
        *slot(self.config, pointer)? = value;
        Some(done.to_owned())
    }

    /// Marks an element of an array to be removed.
    fn remove(&mut self, pointer: &str) -> Option<String> {
        let (array, index) = pointer.rsplit_once('/')?;
        self.removed.push((array.to_owned(), index.parse().ok()?));
        Some("removed".to_owned())
    }

    fn remove_elements(&mut self) {
        let mut removed = std::mem::take(&mut self.removed);
        removed.sort_unstable_by(|a, b| b.cmp(a));
        removed.dedup();
        for (array, index) in removed {
            if let Some(array) = self.array(&array).filter(|array| index < array.len()) {
                array.remove(index);
            }
        }
    }

    fn remove_member(&mut self, pointer: &str) -> Option<String> {
        let (object, key) = pointer.rsplit_once('/')?;
        let key = key.replace("~1", "/").replace("~0", "~");
        self.config.pointer_mut(object)?.as_object_mut()?.remove(&key)?;
        Some("removed".to_owned())
    }

    fn drop_capability(&mut self, name: &str) -> Option<String> {
        let sets = self.config.pointer_mut("/process/capabilities")?.as_object_mut()?;
        let short = name.trim_start_matches("CAP_");
        for set in sets.values_mut().filter_map(Value::as_array_mut) {
            set.retain(|entry| {
                let entry = entry.as_str().unwrap_or_default();
                !entry.eq_ignore_ascii_case(name) && !entry.eq_ignore_ascii_case(short)
            });
        }
        Some(format!("dropped {name}"))
    }

    fn unshare(&mut self, kind: &str) -> Option<String> {
        let list = slot(self.config, "/linux/namespaces")?;
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut()?;
        // Another finding may have asked for it already.
        let new = json!({"type": kind});
        if list.contains(&new) {
            return None;
        }
        list.retain(|entry| entry["type"] != kind);
        list.push(new);
        Some(format!("added a namespace of type {kind}"))
    }

    /// Makes a mount read-only if that suffices, and else removes it.
    fn bind(&mut self, pointer: &str, finding: &Finding) -> Option<String> {
        let mount = self.config.pointer(pointer)?;
        let at_proc = mount["destination"] == "/proc";
        let source = finding.object.strip_suffix(" (writable)");
        if at_proc {
            let mount = json!({"destination": "/proc", "type": "proc", "source": "proc",
                "options": ["nosuid", "noexec", "nodev"]});
            return self.set(pointer, mount, "mounted a procfs of the container's own");
        }
        match source {
            Some(source) if super::binds::is_harmless_when_read(source) => self.read_only(pointer),
            _ => self.remove(pointer),
        }
    }

    fn read_only(&mut self, pointer: &str) -> Option<String> {
        let mount = self.config.pointer_mut(pointer)?.as_object_mut()?;
        let options = mount.entry("options").or_insert(json!([]));
        let options = options.as_array_mut()?;
        options.retain(|option| option != "rw" && option != "rrw");
        let is_recursive = options.iter().any(|option| option == "rbind");
        options.push(json!(if is_recursive { "rro" } else { "ro" }));
        Some("made the mount read-only".to_owned())
    }

    fn unshare_mounts(&mut self, pointer: &str) -> Option<String> {
        let mount = self.config.pointer_mut(pointer).filter(|value| value.is_object());
        match mount.and_then(|mount| mount.get_mut("options")?.as_array_mut()) {
            Some(options) => {
                options.retain(|option| option != "shared" && option != "rshared");
                options.push(json!("rslave"));
            }
            None => *slot(self.config, "/linux/rootfsPropagation")? = json!("rslave"),
        }
        Some("set the propagation rslave".to_owned())
    }

    /// Adds the paths of a finding to a list.
    fn add_paths(&mut self, pointer: &str, paths: &str) -> Option<String> {
        let list = slot(self.config, pointer)?;
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut()?.extend(paths.split(", ").map(Value::from));
        Some(format!("added {paths}"))
    }

    /// Takes calls from the rules of the profile that allow them.
    fn forbid(&mut self, calls: &str) -> Option<String> {
        let calls: Vec<&str> = calls.split(", ").collect();
        let rules = self.array("/linux/seccomp/syscalls")?;
        for rule in rules.iter_mut() {
            let allows = rule["action"] == "SCMP_ACT_ALLOW" || rule["action"] == "SCMP_ACT_LOG";
            if let Some(names) = rule["names"].as_array_mut().filter(|_| allows) {
                names.retain(|name| !name.as_str().is_some_and(|name| calls.contains(&name)));
            }
        }
        // The specification wants at least one name.
        rules.retain(|rule| rule["names"].as_array().is_none_or(|names| !names.is_empty()));
        Some(format!("took {} from the profile", calls.join(", ")))
    }

    /// Gives a key the name that was probably meant, unless that member exists.
    fn rename(&mut self, pointer: &str, object: &str) -> Option<String> {
        let meant = object.split('"').nth(1)?;
        let (parent, key) = pointer.rsplit_once('/')?;
        let key = key.replace("~1", "/").replace("~0", "~");
        let value = match parent {
            "" => self.config.as_object_mut()?.remove(&key)?,
            parent => self.config.pointer_mut(parent)?.as_object_mut()?.remove(&key)?,
        };
        // A key of another object is named by its path.
        let target = match meant.contains('.') {
            true => format!("/{}", meant.replace('.', "/")),
            false => format!("{parent}/{meant}"),
        };
        let place = slot(self.config, &target)?;
        if place.is_null() {
            *place = value;
            return Some(format!("renamed to {meant}"));
        }
        Some(format!("removed, since there is {meant}"))
    }
}

/// Returns the member at a JSON pointer, and makes the objects around it; a new member is null.
fn slot<'a>(config: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    let mut at = config;
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        at = match at {
            Value::Array(elements) => elements.get_mut(key.parse::<usize>().ok()?)?,
            Value::Null => {
                *at = json!({});
                at.as_object_mut()?.entry(key).or_insert(Value::Null)
            }
            Value::Object(members) => members.entry(key).or_insert(Value::Null),
            _ => return None,
        };
    }
    Some(at)
}
