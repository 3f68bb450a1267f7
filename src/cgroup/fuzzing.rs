//! Target of the fuzzers: limits and paths of cgroups.

use std::path::Path;

use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};

use super::cgroups_path::CgroupsPath;
use super::layout::Dir;
use super::limit::{Amount, Limit};
use super::limits;
use super::setting::{Content, Setting, Version};
use super::settings::settings;
use super::stats::parse;
use super::units;
use crate::fuzzing::{Input, assert_one_line, reached};

const SIGNED: [i64; 12] =
    [-1, 0, 1, -2, 1000, 4096, 100_000, 1 << 20, 1 << 32, i64::MAX, i64::MIN, 9];

fn signed(input: &mut Input<'_>) -> Value {
    match input.below(3) {
        0 => input.pick(&SIGNED).into(),
        1 => (input.number() >> 1).into(),
        _ => u64::from(input.byte()).into(),
    }
}

/// Makes a section with some members.
fn section(input: &mut Input<'_>, names: &[&str]) -> Value {
    let mut section = json!({});
    for name in names {
        if input.flag() {
            section[name] = match *name {
                "cpus" | "mems" => input.pick(&["0-3,7", "0", "", "3-1", "0,0", "a"]).into(),
                "disableOOMKiller" | "useHierarchy" | "checkBeforeUpdate" => input.flag().into(),
                "shares" | "period" | "burst" | "realtimePeriod" | "swappiness" => {
                    input.number().into()
                }
                "weight" | "leafWeight" => (input.number() % 65_536).into(),
                "classID" => (input.number() as u32).into(),
                _ => signed(input),
            };
        }
    }
    section
}

fn resources(input: &mut Input<'_>) -> Value {
    let mut all = json!({});
    let memory = ["limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness"];
    let flags = ["disableOOMKiller", "useHierarchy", "checkBeforeUpdate"];
    all["memory"] = section(input, &[&memory[..], &flags].concat());
    let cpu =
        ["shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems"];
    all["cpu"] = section(input, &cpu);
    if input.flag() {
        all["cpu"]["idle"] = input.pick(&[0, 1, -1, 2]).into();
    }
    all["blockIO"] = section(input, &["weight", "leafWeight"]);
    let device = |input: &mut Input<'_>| json!({"major": input.pick(&[8, 0, 4095, 4096, -1]), "minor": input.pick(&[0, 16, 1_048_575, -1])});
    for name in ["weightDevice", "throttleReadBpsDevice", "throttleWriteIOPSDevice"] {
        let mut list = Vec::new();
        for _ in 0..input.below(3) {
            let mut entry = device(input);
            match name {
                "weightDevice" => {
                    let more = section(input, &["weight", "leafWeight"]);
                    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                }
                _ => entry["rate"] = input.number().into(),
            }
            list.push(entry);
        }
        all["blockIO"][name] = list.into();
    }
    if input.flag() {
        all["pids"] = json!({"limit": signed(input)});
    }
    if input.flag() {
        let sizes = ["2MB", "1GB", "64KB", "0MB", "2mb", "../x", "16777216KB"];
        all["hugepageLimits"] = json!([{"pageSize": input.pick(&sizes), "limit": signed(input)}]);
    }
    if input.flag() {
        all["network"] = section(input, &["classID"]);
        let name = input.text(17);
        all["network"]["priorities"] = json!([{"name": name, "priority": 5}]);
    }
    if input.flag() {
        all["rdma"] = json!({input.text(9): {"hcaHandles": input.number() as u32}});
    }
    for _ in 0..input.below(3) {
        let files = ["memory.high", "cpu.max", "cpuset.cpus", "pids.max", "io.max", "cpu.weight"];
        let file = if input.flag() { input.pick(&files).to_owned() } else { input.text(12) };
        let values =
            ["max", "max 100000", "1 2", "0-3", "-1", "", "\n", "a\nb", "18446744073709551616"];
        let value = if input.flag() { input.pick(&values).to_owned() } else { input.text(12) };
        if all["unified"].is_null() {
            all["unified"] = json!({});
        }
        all["unified"][file] = value.into();
    }
    all
}

/// Limits become control files and properties of units; paths stay below their root.
pub fn cgroup(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(8) {
        0 => return path(&mut input),
        1 => return figures(&String::from_utf8_lossy(input.rest())),
        2 => return shares(&mut input),
        _ => {}
    }
    let json = resources(&mut input);
    let Ok(resources) = serde_json::from_value::<LinuxResources>(json.clone()) else { return };
    let read = limits::read(&resources);
    let checked = limits::checked(&resources);
    for error in [read.as_ref().err(), checked.as_ref().err()].into_iter().flatten() {
        assert_one_line(&error.to_string());
        assert!(error.to_string().starts_with("linux.resources."), "{error}");
    }
    assert!(read.is_ok() || checked.is_err());
    let Ok(limits) = checked else { return };
    reached();
    for version in [Version::V1, Version::V2] {
        let mut all = Vec::new();
        for limit in &limits {
            match settings(limit, version) {
                Ok(list) => {
                    list.iter().for_each(|setting| check_setting(limit, setting, version, &json));
                    all.extend(list);
                }
                Err(error) => {
                    assert_one_line(&error.to_string());
                    assert!(error.to_string().starts_with("linux.resources."), "{error}");
                }
            }
        }
        let properties = units::properties(version, &all);
        for property in &properties {
            assert!(property.name.bytes().all(|byte| byte.is_ascii_alphabetic()));
        }
    }
}

fn check_setting(limit: &Limit, setting: &Setting, version: Version, json: &Value) {
    assert!(setting.field.starts_with("linux.resources."), "{}", setting.field);
    assert!(!setting.files.is_empty());
    for file in &setting.files {
        let is_file = !file.name.contains(['/', '\0', '\n']) && !file.name.starts_with('.');
        assert!(is_file && file.name.contains('.'), "{json}: {}", file.name);
        let text = file.content.to_string();
        assert!(!text.is_empty(), "{json}: an empty write to {}", file.name);
        assert!(!text.trim_end_matches('\n').contains('\n'), "{json}: {text:?}");
        if let Limit::Unified { .. } = limit {
            let again = Content::parse(&file.name, &text);
            assert_eq!(again.to_string(), text, "{json}");
            continue;
        }
        let range = match file.name.as_str() {
            "cpu.weight" | "io.weight" => 1..=10_000,
            "cpu.shares" => 2..=262_144,
            "blkio.weight" | "blkio.bfq.weight" | "blkio.leaf_weight" | "io.bfq.weight" => {
                10..=1000
            }
            "memory.swappiness" => 0..=100,
            "cpu.idle" => 0..=1,
            "pids.max" => 1..=u64::MAX,
            _ => 0..=u64::MAX,
        };
        match &file.content {
            Content::Number(number) => assert!(range.contains(number), "{json}: {text}"),
            Content::Unlimited(word) => {
                let wanted = match version {
                    Version::V1 if file.name != "pids.max" => "-1",
                    _ => "max",
                };
                assert_eq!(*word, wanted, "{json}: {}", file.name);
            }
            Content::Bandwidth { .. } => assert_eq!(file.name, "cpu.max"),
            Content::Text(text) if file.name == "io.weight" => {
                let weight: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
                assert!((1..=10_000).contains(&weight), "{json}: {text}");
            }
            _ => {}
        }
        if !matches!(file.content, Content::Text(_)) {
            assert_eq!(Content::parse(&file.name, &text), file.content, "{json}");
        }
        if file.name == "memory.swap.max"
            && let (Content::Number(swap), Limit::Memory { limit, total, .. }) =
                (&file.content, limit)
            && let (Some(Amount::Of(limit)), Some(Amount::Of(total))) = (limit, total)
        {
            assert_eq!(limit + swap, *total, "{json}");
        }
    }
}

/// A larger share gives no smaller weight.
fn shares(input: &mut Input<'_>) {
    let weight = |section: &str, member: &str, value: u64| -> Option<u64> {
        let json = json!({section: {member: value}});
        let limits = limits::checked(&serde_json::from_value(json).unwrap()).ok()?;
        let limit = limits.first()?;
        let setting = settings(limit, Version::V2).unwrap().pop().unwrap();
        match setting.files.last().unwrap().content {
            Content::Number(number) => Some(number),
            ref other => panic!("{other:?}"),
        }
    };
    let (a, b) = (input.number(), input.number());
    let (less, more) = (a.min(b), a.max(b));
    let of = |value: u64| weight("cpu", "shares", value.max(1)).unwrap();
    assert!(of(less) <= of(more), "{less} {more}");
    let (less, more) = (a % 1100, b % 1100);
    let of = |value: u64| weight("blockIO", "weight", value);
    if let (Some(small), Some(large)) = (of(less.min(more)), of(less.max(more))) {
        assert!(small <= large, "{less} {more}");
    }
}

/// `linux.cgroupsPath` never leads out of the hierarchy.
fn path(input: &mut Input<'_>) {
    let own = input.text(20);
    let is_v2 = input.flag();
    let id = input.text(8);
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    let path = match CgroupsPath::new(&id, Some(Path::new(&text))) {
        Ok(path) => path,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    let root = Path::new("/sys/fs/cgroup/x");
    let dir = Dir::new("x", if is_v2 { "" } else { "cpu" }, root.to_owned(), &own);
    match path.below(&dir) {
        Ok(found) => {
            reached();
            let rest = found.strip_prefix(root).unwrap();
            let plain = |part| matches!(part, std::path::Component::Normal(_));
            assert!(rest.components().all(plain) && rest != Path::new(""), "{text:?}: {found:?}");
            Dir { path: found, ..dir }.check().unwrap();
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// The text of a control file becomes figures, or none.
fn figures(text: &str) {
    if let Some(number) = parse::number(text) {
        assert_eq!(parse::number(&number.to_string()), Some(number), "{text:?}");
    }
    if let Some(numbers) = parse::numbers(text) {
        assert!(numbers.len() <= text.len());
    }
    if let Some(list) = parse::list(text) {
        assert!(list.is_sorted() && list.len() <= 65_536, "{text:?}");
    }
    if let Some(entries) = parse::blkio(text) {
        assert!(entries.len() <= text.lines().count());
    }
    if let Some(pairs) = parse::keyed(text) {
        for (key, value) in &pairs {
            assert!(!key.contains([' ', '\n']), "{text:?}");
            let first = pairs.iter().find(|(name, _)| name == key).map(|(_, first)| first);
            assert!(first != Some(value) || parse::value(&pairs, key) == *value);
        }
    }
    let _ = parse::psi(text);
}
