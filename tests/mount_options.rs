//! Every word that can be a mount option, on every kind of mount: it changes what mountinfo says as
//! its name says, or it is refused. None is ignored.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::support::*;

type Flags = BTreeSet<String>;

/// The flags of a mount that has none, and those of one that has all, with no other access times
/// than the words say: mountinfo has no word for strictatime.
const NONE: &str = "rw";
const ALL: &str = "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";

/// Words that change no flag by their meaning: `defaults` stands for nothing, `silent` and `loud` are
/// about the kernel's log, and `norelatime` takes back a `relatime` that is written before it.
const NO_FLAG: &[&str] = &["defaults", "loud", "norelatime", "rnorelatime", "silent"];
/// Words about the file system itself, and whether mountinfo shows it afterwards.
const OF_FILE_SYSTEM: &[(&str, &str, bool)] = &[
    ("async", "sync", false),
    ("dirsync", "dirsync", true),
    ("lazytime", "lazytime", true),
    ("mand", "mand", true),
    ("nolazytime", "lazytime", false),
    ("nomand", "mand", false),
    ("rasync", "sync", false),
    ("rdirsync", "dirsync", true),
    ("rmand", "mand", true),
    ("rnomand", "mand", false),
    ("rsync", "sync", true),
    ("sync", "sync", true),
];
/// The same, but the kernel does not show it.
const NOT_SHOWN: &[&str] = &["iversion", "noiversion"];
/// Words that say what is mounted; each has a test of its own.
const KINDS: &[&str] =
    &["bind", "copy-symlink", "idmap", "rbind", "remount", "ridmap", "tmpcopyup"];

fn flags(text: &str) -> Flags {
    text.split(',').map(str::to_owned).collect()
}

/// Every word that the runtime says it knows.
fn words() -> Vec<String> {
    let features = Container::new().rt.call(&["features"]).ok().stdout;
    let features: Value = serde_json::from_str(&features).unwrap();
    let list = features["mountOptions"].as_array().unwrap();
    list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// `shared`, `rslave` and so on.
fn propagation(word: &str) -> Option<&str> {
    let plain = word.strip_prefix('r').unwrap_or(word);
    ["shared", "slave", "private", "unbindable"].contains(&plain).then_some(plain)
}

/// The words about the flags of a mount: the plain one, and whether it is recursive.
fn flag_word(word: &str) -> Option<(&str, bool)> {
    const PLAIN: &[&str] = &[
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "strictatime",
        "nostrictatime",
        "symfollow",
        "nosymfollow",
    ];
    if PLAIN.contains(&word) {
        return Some((word, false));
    }
    let plain = word.strip_prefix('r')?;
    PLAIN.contains(&plain).then_some((plain, true))
}

/// What the flags of a mount are after one plain word.
fn after(mut flags: Flags, word: &str) -> Flags {
    let opposite = match word {
        "ro" => "rw".to_owned(),
        "rw" => "ro".to_owned(),
        _ => word.strip_prefix("no").map_or(format!("no{word}"), str::to_owned),
    };
    match word {
        "atime" | "noatime" | "relatime" | "strictatime" | "nostrictatime" => {
            flags.retain(|flag| flag != "noatime" && flag != "relatime");
            match word {
                "noatime" => flags.insert("noatime".to_owned()),
                "strictatime" => true,
                _ => flags.insert("relatime".to_owned()),
            };
        }
        _ => {
            flags.remove(&opposite);
            // Only what is forbidden has a word of its own in mountinfo.
            if word.starts_with("no") || word == "ro" || word == "rw" {
                flags.insert(word.to_owned());
            }
        }
    }
    flags
}

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

/// Two trees of mounts with the flags [`NONE`] and [`ALL`], and one mount of the same flags below
/// each, in a mount namespace of the calls alone.
fn sources(c: &mut Container) -> [(PathBuf, Flags); 2] {
    let mut script = String::new();
    let made = [("none", NONE), ("all", ALL)].map(|(name, flags_of)| {
        let place = c.path().join(name);
        let dir = place.to_str().unwrap();
        fs::create_dir(&place).unwrap();
        let remount = if name == "none" { "strictatime" } else { ALL };
        script += &format!(
            "mount -t tmpfs {name} {dir}\nmkdir {dir}/sub\nmount -t tmpfs {name} {dir}/sub\n\
             mount -o remount,bind,{remount} {dir}/sub\nmount -o remount,bind,{remount} {dir}\n"
        );
        (place, flags(flags_of))
    });
    let words = format!("{script}exec \"$@\"");
    c.rt.through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &words, "sh"]
        .iter()
        .map(Into::into)
        .collect();
    made
}

// Proves: features.mountOptions
#[test]
fn every_word_has_a_row() {
    for word in words() {
        let rows = [
            NO_FLAG.contains(&&*word),
            OF_FILE_SYSTEM.iter().any(|(row, ..)| *row == word),
            NOT_SHOWN.contains(&&*word),
            KINDS.contains(&&*word),
            propagation(&word).is_some(),
            flag_word(&word).is_some(),
        ];
        assert_eq!(rows.iter().filter(|row| **row).count(), 1, "{word}: {rows:?}");
    }
}

// Proves: mounts[].options={ro, rw, nosuid, suid, nodev, dev, noexec, exec, noatime, atime,
// nodiratime, diratime, relatime, strictatime, nostrictatime, nosymfollow, symfollow},
// mounts[].options={rro, rrw, rnosuid, rsuid, rnodev, rdev, rnoexec, rexec, rnoatime, ratime,
// rnodiratime, rdiratime, rrelatime, rstrictatime, rnostrictatime, rnosymfollow, rsymfollow}
#[test]
fn every_word_of_a_flag_on_a_bind_mount() {
    let mut c = asleep();
    let sources = sources(&mut c);
    let words: Vec<_> = words().into_iter().filter(|w| flag_word(w).is_some()).collect();
    assert!(words.len() >= 34, "{words:?}");
    for word in words.iter().map(String::as_str).chain(NO_FLAG.iter().copied()) {
        for (source, _) in &sources {
            let place = format!("/mnt/{word}/{}", source.file_name().unwrap().display());
            c.mount(&place, "bind", source.to_str().unwrap(), &["rbind", word]);
        }
    }
    c.run_detached();
    c.rt.through.clear();
    let process = c.process();
    for word in words.iter().map(String::as_str).chain(NO_FLAG.iter().copied()) {
        let mut changed = false;
        for (source, before) in &sources {
            let place = format!("/mnt/{word}/{}", source.file_name().unwrap().display());
            let (mut top, mut sub) = (before.clone(), before.clone());
            if let Some((plain, recursive)) = flag_word(word) {
                top = after(top, plain);
                sub = if recursive { top.clone() } else { sub };
            }
            changed |= top != *before;
            assert_eq!(process.mount_options(&place), top, "{place}");
            assert_eq!(process.mount_options(&format!("{place}/sub")), sub, "below {place}");
        }
        assert_eq!(changed, flag_word(word).is_some(), "{word} changes nothing in this test");
    }
}

// Proves: mounts[].options={ro, rw, nosuid, suid, nodev, dev, noexec, exec, noatime, atime,
// nodiratime, diratime, relatime, strictatime, nostrictatime, nosymfollow, symfollow},
// mounts[].options={defaults, norelatime, rnorelatime, silent, loud}
#[test]
fn every_word_of_a_flag_on_a_new_file_system() {
    let mut c = asleep();
    let words: Vec<_> = words().into_iter().filter(|w| flag_word(w).is_some()).collect();
    let befores: [&[&str]; 2] = [&["strictatime"], &ALL.split(',').collect::<Vec<_>>()];
    let kinds = ["tmpfs", "proc", "mqueue", "sysfs"];
    for word in words.iter().map(String::as_str).chain(NO_FLAG.iter().copied()) {
        for kind in kinds {
            for (number, before) in befores.iter().enumerate() {
                let options = [before, &[word][..]].concat();
                c.mount(&format!("/mnt/{word}/{kind}{number}"), kind, kind, &options);
            }
        }
    }
    c.run_detached();
    let process = c.process();
    for word in words.iter().map(String::as_str).chain(NO_FLAG.iter().copied()) {
        for kind in kinds {
            for (number, before) in [NONE, ALL].iter().enumerate() {
                let place = format!("/mnt/{word}/{kind}{number}");
                let expected = match flag_word(word) {
                    // After a strictatime or noatime of the list, the opposite of the other one
                    // changes nothing. A recursive word stands for itself.
                    Some(("atime", false)) if *before == NONE => flags(NONE),
                    Some(("nostrictatime", false)) if *before == ALL => flags(ALL),
                    Some((plain, _)) => after(flags(before), plain),
                    None => flags(before),
                };
                assert_eq!(process.mount_options(&place), expected, "{place}");
            }
        }
    }
}

// Proves: mounts[].options={shared, rshared, private, rprivate, unbindable, runbindable}
#[test]
fn every_word_of_propagation() {
    let mut c = asleep();
    let (source, _) = sources(&mut c)[0].clone();
    let words: Vec<_> = words().into_iter().filter(|w| propagation(w).is_some()).collect();
    assert_eq!(words.len(), 8);
    for word in &words {
        c.mount(&format!("/mnt/bind/{word}"), "bind", source.to_str().unwrap(), &["rbind", word]);
        c.mount(&format!("/mnt/proc/{word}"), "proc", "proc", &[word]);
    }
    c.run_detached();
    c.rt.through.clear();
    let process = c.process();
    for word in &words {
        // Without a master a slave is private.
        let plain = propagation(word).map(|plain| if plain == "slave" { "private" } else { plain });
        let plain = plain.unwrap();
        assert_eq!(process.propagation(&format!("/mnt/bind/{word}")), plain, "{word}");
        assert_eq!(process.propagation(&format!("/mnt/proc/{word}")), plain, "{word}");
        let below = if word.starts_with('r') { plain } else { "private" };
        assert_eq!(process.propagation(&format!("/mnt/bind/{word}/sub")), below, "{word}");
    }
}

// Proves: mounts[].options={sync, async, dirsync, lazytime, nolazytime, mand, nomand},
// mounts[].options={iversion, noiversion}
#[test]
fn every_word_of_the_file_system_on_a_new_one() {
    let mut c = asleep();
    for (word, shown, set) in OF_FILE_SYSTEM {
        let before = if *set { &[][..] } else { &[*shown][..] };
        c.mount(&format!("/mnt/{word}"), "tmpfs", "tmpfs", &[before, &[word]].concat());
    }
    for word in NOT_SHOWN {
        let options = [word, "rnosuid", "nosymfollow", "sync"];
        c.mount(&format!("/mnt/{word}"), "tmpfs", "tmpfs", &options);
    }
    c.run_detached();
    let process = c.process();
    for (word, shown, set) in OF_FILE_SYSTEM {
        let options = process.mount(&format!("/mnt/{word}")).super_options;
        assert_eq!(options.contains_key(*shown), *set, "{word}: {options:?}");
    }
    for word in NOT_SHOWN {
        // It takes a remount, which must not lose the rest.
        let place = format!("/mnt/{word}");
        let expected = flags("rw,nosuid,nosymfollow,relatime");
        assert_eq!(process.mount_options(&place), expected, "{word}");
        assert!(process.mount(&place).super_options.contains_key("sync"), "{word}");
    }
}

#[test]
fn words_of_the_file_system_are_refused_where_it_is_shared() {
    let all = OF_FILE_SYSTEM.iter().map(|(word, ..)| word).chain(NOT_SHOWN);
    let mut rows: Vec<(&str, &str, &[&str])> = Vec::new();
    for word in all {
        rows.push((word, "bind", &["rbind"]));
        rows.push((word, "cgroup", &[]));
        rows.push((word, "bind", &["bind", "remount"]));
    }
    // The kernel takes these for a file system that is there already, and ignores them.
    let set = OF_FILE_SYSTEM.iter().filter(|row| row.2 && !row.0.starts_with('r'));
    let set = set.map(|row| row.0);
    rows.extend(set.clone().map(|word| (word, "mqueue", &[][..])));
    rows.extend(set.map(|word| (word, "sysfs", &[][..])));
    for_each_row(&rows, |(word, kind, options)| {
        let mut c = Container::new();
        c.mount("/mnt", kind, "/etc", &[*options, &[word]].concat());
        c.create().refused(&["mounts[6]", &format!("\"{word}\""), "file system"]);
    });
}

// Proves: mounts[].options:idmap
#[test]
fn words_of_a_kind_are_refused_on_another() {
    for_each_row(
        &[
            ("tmpcopyup", "bind", &["bind"][..]),
            ("tmpcopyup", "proc", &[]),
            ("tmpcopyup", "cgroup", &[]),
            ("tmpcopyup", "tmpfs", &["remount"]),
            ("copy-symlink", "tmpfs", &[]),
            ("copy-symlink", "proc", &[]),
            ("copy-symlink", "bind", &["bind", "remount"]),
            ("idmap", "tmpfs", &[]),
            ("ridmap", "proc", &[]),
            ("idmap", "cgroup", &[]),
            ("idmap", "bind", &["bind"]),
            ("ridmap", "bind", &["bind", "remount"]),
            ("iversion", "", &["remount"]),
            ("rsync", "", &["remount"]),
            ("rnomand", "tmpfs", &["remount"]),
        ],
        |(word, kind, options)| {
            let mut c = Container::new();
            c.mount("/mnt", kind, "/etc", &[*options, &[word]].concat());
            c.create().refused(&["mounts[6]", &format!("\"{word}\"")]);
        },
    );
}

#[test]
fn unknown_words_are_refused_by_name() {
    const UNKNOWN: &[&str] = &[
        "ro=recursive",
        "ro=true",
        "nosuid=recursive",
        "size=1m",
        "mode=755",
        "bind=true",
        "nosiud",
        "rlazytime",
        "riversion",
        "src-nofollow",
        "dest-nofollow",
        "ridmap=true",
        "idmap=",
        "idmap=uids=0-1",
        "z",
        "U",
    ];
    let mut rows: Vec<(&str, &str, &[&str])> = Vec::new();
    for word in UNKNOWN {
        rows.extend([(*word, "bind", &["rbind"][..]), (*word, "proc", &[])]);
    }
    for kind in ["cgroup", "ramfs", "sysfs", "mqueue", "devpts", "tmpfs"] {
        rows.extend([("nosiud", kind, &[][..]), ("ro=true", kind, &[]), ("sise=1m", kind, &[])]);
    }
    for_each_row(&rows, |(word, kind, options)| {
        let mut c = Container::new();
        c.mount("/mnt", kind, "/etc", &[*options, &[word]].concat());
        let ran = c.create();
        let ran = ran.refused(&["mounts[6]", word]);
        assert!(!ran.stderr.contains("warning"), "{ran:#?}");
    });
}

#[test]
fn a_file_system_that_takes_any_option_takes_its_own() {
    let mut c = Container::with_script("stat -c %a /mnt");
    c.mount("/mnt", "ramfs", "ramfs", &["mode=751"]);
    assert_eq!(c.output(), "751\n");
}
