use super::*;
use PropagationKind::{Private, Shared, Slave, Unbindable};

fn list(options: &str) -> Vec<String> {
    options.split_whitespace().map(str::to_owned).collect()
}

fn parsed(options: &str) -> MountOptions {
    parse(&list(options)).unwrap()
}

/// Returns (set, clear, rec_set, rec_clear).
fn attrs(options: &str) -> (u64, u64, u64, u64) {
    let o = parsed(options);
    (o.set.0, o.clear.0, o.rec_set.0, o.rec_clear.0)
}

/// The table of config.md, "Linux mount options".
const SPEC: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud \
    mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime \
    nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime \
    rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime \
    rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave \
    strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap";

#[test]
fn the_table_is_sorted_without_doubles_and_holds_the_spec() {
    let names = names();
    assert!(names.windows(2).all(|w| w[0] < w[1]));
    for option in list(SPEC) {
        assert!(names.contains(&option), "{option}");
        assert!(parsed(&option).data.is_empty(), "{option}");
    }
    // The specification's table lacks rnodev, the opposite of rdev, which all runtimes know.
    let more = "rnodev copy-symlink rasync rdirsync rmand rnomand rsync";
    assert_eq!(names.len(), list(SPEC).len() + list(more).len());
    // The rest is crun's.
    assert!(list(more).iter().all(|name| names.contains(name)));
}

#[test]
fn attributes() {
    for (option, expected) in [
        ("defaults", (0, 0, 0, 0)),
        ("ro", (1, 0, 0, 0)),
        ("rw", (0, 1, 0, 0)),
        ("nosuid", (2, 0, 0, 0)),
        ("suid", (0, 2, 0, 0)),
        ("nodev", (4, 0, 0, 0)),
        ("dev", (0, 4, 0, 0)),
        ("noexec", (8, 0, 0, 0)),
        ("exec", (0, 8, 0, 0)),
        ("nodiratime", (0x80, 0, 0, 0)),
        ("diratime", (0, 0x80, 0, 0)),
        ("nosymfollow", (0x20_0000, 0, 0, 0)),
        ("symfollow", (0, 0x20_0000, 0, 0)),
        ("rro", (0, 0, 1, 0)),
        ("rrw", (0, 0, 0, 1)),
        ("rnosuid", (0, 0, 2, 0)),
        ("rsuid", (0, 0, 0, 2)),
        ("rnodev", (0, 0, 4, 0)),
        ("rdev", (0, 0, 0, 4)),
        ("rnoexec", (0, 0, 8, 0)),
        ("rexec", (0, 0, 0, 8)),
        ("rnodiratime", (0, 0, 0x80, 0)),
        ("rdiratime", (0, 0, 0, 0x80)),
        ("rnosymfollow", (0, 0, 0x20_0000, 0)),
        ("rsymfollow", (0, 0, 0, 0x20_0000)),
    ] {
        assert_eq!(attrs(option), expected, "{option}");
    }
}

#[test]
fn access_times_are_one_value() {
    for (options, set, clear) in [
        ("noatime", 0x10, 0x70),
        ("relatime", 0, 0x70),
        ("strictatime", 0x20, 0x70),
        ("atime", 0, 0x70),
        ("nostrictatime", 0, 0x70),
        ("norelatime", 0, 0),
        ("noatime strictatime", 0x20, 0x70),
        ("strictatime noatime", 0x10, 0x70),
        ("strictatime relatime", 0, 0x70),
        ("noatime atime", 0, 0x70),
        ("strictatime atime", 0x20, 0x70),
        ("strictatime nostrictatime", 0, 0x70),
        ("noatime nostrictatime", 0x10, 0x70),
        ("relatime norelatime", 0, 0),
        ("noatime norelatime", 0x10, 0x70),
        ("norelatime strictatime", 0x20, 0x70),
        ("noatime nodiratime", 0x90, 0x70),
    ] {
        assert_eq!(attrs(options), (set, clear, 0, 0), "{options}");
        let recursive: Vec<String> =
            options.split_whitespace().map(|option| format!("r{option}")).collect();
        assert_eq!(attrs(&recursive.join(" ")), (0, 0, set, clear), "{recursive:?}");
    }
}

#[test]
fn the_last_of_contradicting_words_wins() {
    for (options, expected) in [
        ("ro rw", (0, 1, 0, 0)),
        ("rw ro", (1, 0, 0, 0)),
        ("nosuid suid", (0, 2, 0, 0)),
        ("suid nosuid", (2, 0, 0, 0)),
        ("dev nodev", (4, 0, 0, 0)),
        ("exec noexec exec", (0, 8, 0, 0)),
        ("nosymfollow symfollow", (0, 0x20_0000, 0, 0)),
        ("nodiratime diratime", (0, 0x80, 0, 0)),
        ("rro rrw", (0, 0, 0, 1)),
        ("rdev rnodev", (0, 0, 4, 0)),
        // Recursive changes are applied first: the last option decides for the top mount.
        ("rro rw", (0, 1, 1, 0)),
        ("rw rro", (0, 0, 1, 0)),
        ("ro rrw", (0, 0, 0, 1)),
        ("noatime rrelatime", (0, 0, 0, 0x70)),
        ("noatime rnorelatime", (0x10, 0x70, 0, 0)),
        ("rnoatime relatime", (0, 0x70, 0x10, 0x70)),
        ("nosuid ro rnosuid", (3, 0, 2, 0)),
        // An option that keeps an earlier choice keeps that of a recursive option too.
        ("rstrictatime atime", (0x20, 0x70, 0x20, 0x70)),
        ("strictatime ratime", (0, 0, 0, 0x70)),
        ("relatime rnorelatime", (0, 0, 0, 0)),
    ] {
        assert_eq!(attrs(options), expected, "{options}");
    }
}

#[test]
fn on_one_mount_the_last_word_wins() {
    for (options, expected) in [
        ("rnodev dev", (0, 4)),
        ("dev rnodev", (4, 0)),
        ("rro rw", (0, 1)),
        ("rw rro", (1, 0)),
        ("rrw ro", (1, 0)),
        ("rnosuid", (2, 0)),
        ("rnoatime relatime", (0, 0x70)),
        ("relatime rnoatime", (0x10, 0x70)),
        ("rnodiratime strictatime", (0xa0, 0x70)),
    ] {
        let (set, clear) = parsed(options).of_one_mount();
        assert_eq!((set.0, clear.0), expected, "{options}");
    }
}

#[test]
fn super_flags() {
    for (options, set, clear, names) in [
        ("ro", 1, 0, "ro"),
        ("rw", 0, 1, "rw"),
        ("ro rw", 0, 1, "rw"),
        ("ro rro", 1, 0, "ro"),
        ("ro rrw", 0, 0, ""),
        ("rw rro", 0, 0, ""),
        ("sync", 0x10, 0, "sync"),
        ("async", 0, 0x10, "async"),
        ("sync async", 0, 0x10, "async"),
        ("mand", 0x40, 0, "mand"),
        ("nomand", 0, 0x40, "nomand"),
        ("dirsync", 0x80, 0, "dirsync"),
        ("silent", 0x8000, 0, ""),
        ("loud", 0, 0x8000, ""),
        ("iversion", 0x80_0000, 0, ""),
        ("noiversion", 0, 0x80_0000, ""),
        ("lazytime", 0x200_0000, 0, "lazytime"),
        ("lazytime nolazytime", 0, 0x200_0000, "nolazytime"),
        ("sync ro dirsync", 0x91, 0, "ro sync dirsync"),
    ] {
        let flags = parsed(options).super_flags;
        assert_eq!((flags.set, flags.clear), (set, clear), "{options}");
        assert_eq!(flags.fsconfig_names().collect::<Vec<_>>().join(" "), names, "{options}");
    }
}

#[test]
fn kinds_of_mount() {
    assert_eq!(parsed("bind"), MountOptions { bind: true, ..Default::default() });
    for both in ["rbind", "rbind bind", "bind rbind"] {
        let expected = MountOptions { bind: true, recursive: true, ..Default::default() };
        assert_eq!(parsed(both), expected);
    }
    assert_eq!(parsed("remount"), MountOptions { remount: true, ..Default::default() });
    assert_eq!(parsed("tmpcopyup"), MountOptions { tmpcopyup: true, ..Default::default() });
    assert!(parsed("copy-symlink").copy_symlink);
    assert_eq!(parsed("idmap").idmap, Some(false));
    assert_eq!(parsed("ridmap").idmap, Some(true));
    assert_eq!(parsed("ridmap idmap").idmap, Some(false));
    assert_eq!(parsed("").idmap, None);
    assert_eq!(parsed("ridmap=uids=0-1-2").idmap, Some(true));
    assert!(parsed("idmap=uids=0-1-2").ranges.is_some());
    assert_eq!(parsed("idmap=uids=0-1-2 idmap").ranges, None);
}

#[test]
fn propagation_keeps_its_order() {
    let expected = [
        (Shared, false),
        (Slave, false),
        (Private, false),
        (Unbindable, false),
        (Shared, true),
        (Slave, true),
        (Private, true),
        (Unbindable, true),
    ]
    .map(|(kind, recursive)| Propagation { kind, recursive });
    let options = "shared slave private unbindable rshared rslave rprivate runbindable";
    assert_eq!(parsed(options).propagation, expected);
}

#[test]
fn the_rest_is_the_file_system_s() {
    let options = ["size=64k", "newinstance", "", "mode=", "context=\"u:r:t:s0:c1,c2\"", "a=b=c"];
    let data = parse(&options.map(str::to_owned)).unwrap().data;
    let data: Vec<_> = data.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    assert_eq!(
        data,
        [
            ("size", Some("64k")),
            ("newinstance", None),
            ("mode", Some("")),
            ("context", Some("u:r:t:s0:c1,c2")),
            ("a", Some("b=c")),
        ]
    );
}

#[test]
fn bad_options() {
    for (option, why) in [
        ("size=1,suid", "comma"),
        ("nosuid,nodev", "comma"),
        ("size=1\nsuid", "line feed"),
        ("size=\0", "NUL"),
        ("=x", "name"),
        ("a=\"b\",suid,c=\"d\"", "quotes"),
        ("a,b=\"c\"", "quotes"),
        ("idmap=", "uids="),
        ("idmap=true", "uids="),
        ("ro=recursive", "no value"),
        ("nosuid=", "no value"),
        ("sync=1", "no value"),
        ("rsync=1", "no value"),
        ("src-nofollow", "not supported"),
        ("dest-nofollow", "not supported"),
    ] {
        let bad = parse(&["ro".to_owned(), option.to_owned()]).unwrap_err();
        assert_eq!(bad.index, 1);
        assert!(bad.why.contains(why), "{option}: {}", bad.why);
    }
}

/// The words that runc 1.4 and crun 1.26 know, apart from propagation: each has an effect, or is
/// refused by name, so that no file system gets it.
#[test]
fn words_of_other_runtimes_are_known() {
    const RUNC: &str = "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime \
        loud mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime \
        nostrictatime nosuid nosymfollow ratime rbind rdev rdiratime relatime remount rexec ridmap \
        rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro \
        rrelatime rro rrw rstrictatime rsuid rsymfollow rw silent strictatime suid symfollow sync \
        tmpcopyup";
    const CRUN: &str = "copy-symlink rasync rdirsync rmand rnomand rsync";
    for word in RUNC.split_whitespace().chain(CRUN.split_whitespace()) {
        let parsed = parse(&[word.to_owned()]).unwrap();
        assert!(parsed.data.is_empty(), "{word}");
        let with_value = parse(&[format!("{word}=x")]).map_err(|bad| bad.index);
        assert_eq!(with_value.map(|_| ()), Err(0), "{word}=x");
    }
    for word in ["dest-nofollow", "src-nofollow"] {
        assert!(parse(&[word.to_owned()]).is_err(), "{word}");
    }
}
