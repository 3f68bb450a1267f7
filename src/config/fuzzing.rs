//! Targets of the fuzzers: configurations, and the options of mounts.

use std::path::{Component, Path};

use serde_json::Value;

use super::mounts::options::{self, MountOptions};
use super::{
    CgroupRequest, Choice, IdMap, Kind, MountKind, Plan, PlanOptions, Process, keys, load,
};
use crate::Error;
use crate::cgroup::Resources;
use crate::fuzzing::{Input, assert_one_line, edit, reached};
use crate::host::Host;
use crate::sys::cred::Caps;

/// A configuration with a value for most keys.
const FULL: &str = include_str!("../../fuzz/seeds/config/full.json");

/// A configuration is refused by an error that names a field, or becomes a plan that keeps the rules
/// of the specification.
pub fn config(data: &[u8]) {
    let mut flags = 0;
    let text = match data.first() {
        Some(b'{' | b' ' | b'\n' | b'[' | b'\xef') => data.to_owned(),
        _ => {
            let mut input = Input::new(data);
            flags = input.byte();
            let mut config: Value = serde_json::from_str(FULL).unwrap();
            while !input.is_empty() {
                edit(&mut config, &mut input);
            }
            config.to_string().into_bytes()
        }
    };
    let loaded = match load::parse(text, "config.json") {
        Ok(loaded) => loaded,
        Err(error) => {
            let error = error.to_string();
            assert_one_line(&error);
            return assert!(error.starts_with("config.json: "), "{error}");
        }
    };
    loaded.warnings.iter().for_each(|warning| assert_one_line(warning));
    // The state file holds the corrected text, which later commands read.
    let stored = load::parse_stored(std::str::from_utf8(&loaded.raw).unwrap()).unwrap();
    assert!(stored == loaded.spec, "{stored:?} {:?}", loaded.spec);
    let mut spec = loaded.spec;
    let is_root = flags & 1 == 0;
    let caps = if flags & 2 == 0 { u64::MAX >> 23 } else { 0xa804_25fb };
    let caps = if is_root { caps } else { 0 };
    let host = Host {
        uid: if is_root { 0 } else { 1000 },
        gid: if is_root { 0 } else { 1000 },
        caps: Caps { effective: caps, permitted: caps, inheritable: 0 },
        is_rootless: !is_root,
        in_user_namespace: flags & 4 != 0,
    };
    let plan_options = PlanOptions {
        id: "c1".to_owned(),
        bundle: "/usr".into(),
        no_new_keyring: true,
        cgroup: CgroupRequest {
            disabled: flags & 8 == 0,
            systemd: (flags & 16 != 0).then(Default::default),
            rootless: !is_root,
        },
        notify_dir: (flags & 32 != 0).then(|| "/run/x".into()),
        ..PlanOptions::default()
    };
    let mut warnings = Vec::new();
    // Without a cgroup the limits are checked by themselves: this host may lack a controller.
    if plan_options.cgroup.disabled
        && let Some(linux) = spec.linux_mut()
    {
        let devices = linux.devices().as_deref().unwrap_or_default();
        let checked = Resources::new(linux.resources().as_ref(), devices);
        linux.set_resources(None);
        if let Err(error) = checked {
            return check_error(&error);
        }
    }
    match Plan::new(&spec, &plan_options, &host, &mut warnings) {
        Ok(plan) => {
            reached();
            check_plan(&plan, &plan_options, &host);
        }
        Err(error) => check_error(&error),
    }
    warnings.iter().for_each(|warning| assert_one_line(warning));
}

/// Checks that an error begins with a key of the configuration, an option or a place on the host.
fn check_error(error: &Error) {
    let error = error.to_string();
    assert_one_line(&error);
    let name = error.split([':', '.', '[', ' ']).next().unwrap_or_default();
    let is_key = keys::CONFIG.iter().any(|key| key.name == name);
    assert!(is_key || name.starts_with("--") || name.starts_with("/sys/fs/cgroup"), "{error}");
}

fn check_plan(plan: &Plan, plan_options: &PlanOptions, host: &Host) {
    assert!(plan.rootfs.is_absolute() && plan.bundle == plan_options.bundle);
    for mount in &plan.mounts {
        let path = &mount.destination;
        let names =
            |part| matches!(part, Component::Normal(_) | Component::RootDir | Component::ParentDir);
        assert!(path.is_absolute() && path.components().all(names), "{path:?}");
        assert!(path.as_os_str().len() <= 4096, "{path:?}");
        if let MountKind::Bind(source) | MountKind::Own(source) = &mount.kind {
            assert!(source.is_absolute(), "{source:?}");
            assert!(mount.options.bind && mount.options.data.is_empty());
        }
        if let Some(Some((uids, gids))) = &mount.idmap {
            check_maps(uids);
            check_maps(gids);
        }
    }
    for path in plan.masked.iter().chain(&plan.readonly) {
        assert!(path.is_absolute(), "{path:?}");
    }
    for device in &plan.devices {
        assert!(device.path.is_absolute() && device.major <= 4095 && device.minor <= 1_048_575);
        let names = |part| matches!(part, Component::Normal(_) | Component::RootDir);
        assert!(device.path.components().all(names), "{:?}", device.path);
        assert!(device.attributes.mode.is_none_or(|mode| mode <= 0o7777));
    }
    for (name, value) in &plan.sysctl {
        let names = |part| matches!(part, Component::Normal(_));
        assert!(Path::new(name).components().all(names), "{name:?}");
        assert!(!value.contains(['\n', '\0']), "{value:?}");
    }
    for name in plan.hostname.iter().chain(&plan.domainname) {
        assert!(plan.namespaces.has(Kind::Uts) && name.len() <= 64, "{name:?}");
    }
    for ids in plan.ids.iter().chain(&plan.copied_ids) {
        check_maps(&ids.uids);
        check_maps(&ids.gids);
    }
    assert_eq!(plan.ids.is_some(), plan.namespaces.user == Choice::New);
    assert!(plan.keyring.is_none());
    for dir in plan.cgroup.record().dirs {
        let rest = dir.path.strip_prefix(&dir.root).unwrap();
        let names = |part| matches!(part, Component::Normal(_));
        assert!(rest.components().all(names) && rest != Path::new(""), "{:?}", dir.path);
    }
    if let Some(process) = &plan.process {
        check_process(process, plan, host);
    }
}

fn check_maps(maps: &[IdMap]) {
    IdMap::check("maps", maps).unwrap();
    assert!(!maps.is_empty());
}

fn check_process(process: &Process, plan: &Plan, host: &Host) {
    let caps = process.identity.caps;
    // The rules of capabilities(7) for capset(2) and prctl(2).
    assert_eq!(caps.effective & !caps.permitted, 0);
    assert_eq!(caps.inheritable & !caps.bounding, 0);
    assert_eq!(caps.ambient & !(caps.permitted & caps.inheritable), 0);
    if !plan.namespaces.has_user() {
        assert_eq!((caps.permitted | caps.bounding) & !host.caps.permitted, 0);
    }
    assert!(!process.args.is_empty() && process.cwd.is_absolute());
    assert!(process.identity.uid != u32::MAX && process.identity.gid != u32::MAX);
    let mut names: Vec<&[u8]> = Vec::new();
    for variable in &process.env {
        let name = variable.to_bytes().split(|byte| *byte == b'=').next().unwrap();
        assert!(!name.is_empty() && !names.contains(&name), "{variable:?}");
        names.push(name);
    }
    for limit in &process.rlimits {
        assert!(limit.soft <= limit.hard);
    }
    assert!(process.oom_score_adj.is_none_or(|adj| (-1000..=1000).contains(&adj)));
    if let Some(filter) = &process.seccomp {
        assert!(filter.program.len().is_multiple_of(8) && filter.program.len() <= 4096 * 8);
        assert_eq!(filter.notify, process.listener.is_some());
    }
}

/// Attributes, and how options change them.
const WORDS: [(&str, u64, bool); 14] = [
    ("ro", 1, true),
    ("rw", 1, false),
    ("nosuid", 2, true),
    ("suid", 2, false),
    ("nodev", 4, true),
    ("dev", 4, false),
    ("noexec", 8, true),
    ("exec", 8, false),
    ("nodiratime", 0x80, true),
    ("diratime", 0x80, false),
    ("nosymfollow", 0x20_0000, true),
    ("symfollow", 0x20_0000, false),
    ("nosuid", 2, true),
    ("ro", 1, true),
];

const TIMES: [&str; 6] =
    ["noatime", "relatime", "strictatime", "atime", "nostrictatime", "norelatime"];

/// Flags of the file system, and how options change them.
const FLAGS: [(&str, u64, bool); 15] = [
    ("sync", 1 << 4, true),
    ("async", 1 << 4, false),
    ("rsync", 1 << 4, true),
    ("rasync", 1 << 4, false),
    ("mand", 1 << 6, true),
    ("nomand", 1 << 6, false),
    ("dirsync", 1 << 7, true),
    ("rdirsync", 1 << 7, true),
    ("silent", 1 << 15, true),
    ("loud", 1 << 15, false),
    ("iversion", 1 << 23, true),
    ("noiversion", 1 << 23, false),
    ("lazytime", 1 << 25, true),
    ("nolazytime", 1 << 25, false),
    ("rmand", 1 << 6, true),
];

const TIME_MASK: u64 = 0x70;

/// The access time mode that an option chooses, after the mode that earlier options have chosen;
/// `Some(None)` takes that choice back.
fn time(word: &str, chosen: Option<u64>) -> Option<Option<u64>> {
    let (relative, none, strict) = (0, 0x10, 0x20);
    match (word, chosen) {
        ("noatime", _) => Some(Some(none)),
        ("relatime", _) => Some(Some(relative)),
        ("strictatime", _) => Some(Some(strict)),
        ("atime", Some(mode)) if mode != none => Some(Some(mode)),
        ("nostrictatime", Some(mode)) if mode != strict => Some(Some(mode)),
        ("atime" | "nostrictatime", _) => Some(Some(relative)),
        (_, Some(0)) => Some(None),
        _ => None,
    }
}

/// A mount with its chosen access time mode: the choice of options for it alone, and of those for the
/// whole tree.
#[derive(Debug, Clone, Copy)]
struct Simulated {
    attributes: u64,
    own: Option<u64>,
    tree: Option<u64>,
}

impl Simulated {
    fn result(self) -> u64 {
        let mode = self.own.or(self.tree);
        mode.map_or(self.attributes, |mode| self.attributes & !TIME_MASK | mode)
    }
}

/// The last of contradicting options wins, on the mount and on those below it.
pub fn mounts(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        let text = String::from_utf8_lossy(input.rest());
        return free(&text.split('\n').map(str::to_owned).collect::<Vec<_>>());
    }
    let initial = u64::from(input.byte()) & 0x8f | input.pick(&[0, 0x10, 0x20]);
    let [mut top, mut below] = [Simulated { attributes: initial, own: None, tree: None }; 2];
    let (mut flags_set, mut flags_clear) = (0_u64, 0_u64);
    let mut list = Vec::new();
    while !input.is_empty() && list.len() < 40 {
        let recursive = input.flag();
        let prefix = if recursive { "r" } else { "" };
        match input.below(3) {
            0 => {
                let (word, bit, is_set) = input.pick(&WORDS);
                for mount in [&mut top, &mut below].into_iter().take(1 + usize::from(recursive)) {
                    mount.attributes &= !bit;
                    mount.attributes |= if is_set { bit } else { 0 };
                }
                // A new file system is read-only too, unless a later option says otherwise.
                if bit == 1 {
                    let (on, off) = match is_set {
                        true => (&mut flags_set, &mut flags_clear),
                        false => (&mut flags_clear, &mut flags_set),
                    };
                    *off &= !1;
                    *on |= u64::from(!recursive);
                }
                list.push(format!("{prefix}{word}"));
            }
            1 => {
                let word = input.pick(&TIMES);
                if recursive {
                    // A recursive option does not look at the choice for the mount alone.
                    let overrides = match word {
                        "norelatime" => top.own == Some(0),
                        _ => time(word, top.tree).flatten() != top.own,
                    };
                    top.own = top.own.filter(|_| !overrides);
                    if let Some(choice) = time(word, below.tree) {
                        top.tree = choice;
                        below.tree = choice;
                    }
                } else if word != "norelatime" {
                    top.own = time(word, top.own.or(top.tree)).flatten();
                } else if top.own == Some(0) {
                    top.own = None;
                }
                list.push(format!("{prefix}{word}"));
            }
            _ => {
                let (word, bit, is_set) = input.pick(&FLAGS);
                let (on, off) = match is_set {
                    true => (&mut flags_set, &mut flags_clear),
                    false => (&mut flags_clear, &mut flags_set),
                };
                *on |= bit;
                *off &= !bit;
                list.push(word.to_owned());
            }
        }
    }
    let parsed = options::parse(&list).unwrap();
    let tree = |old: u64| old & !parsed.rec_clear.0 | parsed.rec_set.0;
    let own = |old: u64| old & !parsed.clear.0 | parsed.set.0;
    assert_eq!(tree(initial), below.result(), "below, from {initial:#x} by {list:?}: {parsed:?}");
    assert_eq!(own(tree(initial)), top.result(), "from {initial:#x} by {list:?}: {parsed:?}");
    let (set, clear) = parsed.of_one_mount();
    assert_eq!(initial & !clear.0 | set.0, top.result(), "alone, by {list:?}: {parsed:?}");
    assert_eq!(
        (parsed.super_flags.set, parsed.super_flags.clear),
        (flags_set, flags_clear),
        "{list:?}"
    );
    check_attributes(&parsed, &list);
    free(&list);
}

/// Checks what mount_setattr(2) requires.
fn check_attributes(parsed: &MountOptions, list: &[String]) {
    let (one_set, one_clear) = parsed.of_one_mount();
    for (set, clear) in
        [(parsed.set, parsed.clear), (parsed.rec_set, parsed.rec_clear), (one_set, one_clear)]
    {
        assert_eq!(set.0 & clear.0 & !TIME_MASK, 0, "{list:?}");
        assert!(matches!(clear.0 & TIME_MASK, 0 | TIME_MASK), "{list:?}");
        assert!(set.0 & TIME_MASK == 0 || clear.0 & TIME_MASK == TIME_MASK, "{list:?}");
    }
    assert_eq!(parsed.super_flags.set & parsed.super_flags.clear, 0, "{list:?}");
}

/// Checks any strings as options.
fn free(list: &[String]) {
    let parsed = match options::parse(list) {
        Ok(parsed) => parsed,
        Err(bad) => {
            assert!(bad.index < list.len());
            return assert_one_line(bad.why);
        }
    };
    check_attributes(&parsed, list);
    reached();
    let known = options::names();
    for (key, value) in &parsed.data {
        assert!(!key.is_empty() && !key.contains(['=', ',', '\n', '\0']), "{list:?}");
        assert!(!known.contains(key), "{list:?}: {key} was given to the file system");
        let value = value.as_deref().unwrap_or_default();
        assert!(!value.contains(['\n', '\0']), "{list:?}");
        let quoted = format!("{key}=\"{value}\"");
        assert!(!value.contains(',') || list.contains(&quoted), "{list:?}");
    }
    // What the file system gets can be written in options again.
    let again: Vec<String> = parsed
        .data
        .iter()
        .map(|(key, value)| match value {
            Some(value) if value.contains(',') || is_quoted(value) => format!("{key}=\"{value}\""),
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
        .collect();
    assert_eq!(options::parse(&again).unwrap().data, parsed.data, "{list:?}");
}

fn is_quoted(value: &str) -> bool {
    value.len() > 1 && value.starts_with('"') && value.ends_with('"')
}
