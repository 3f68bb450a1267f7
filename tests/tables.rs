//! The tables of `list` and `ps`, beside those of runc and of ps(1) on the same machine.

use std::process::Command;

use crate::interop::runc;
use crate::support::*;

const COLUMNS: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

/// Splits a table at the columns of its header. Fails if a column is not as wide as its widest cell plus
/// three spaces, but at least twelve characters.
fn cells(table: &str) -> Vec<Vec<String>> {
    let header = table.lines().next().unwrap();
    let starts = COLUMNS.map(|title| header.find(title).expect(table));
    let cell = |line: &str, at: usize| {
        let end = starts.get(at + 1).copied().unwrap_or(line.len());
        line[starts[at]..end].trim_end().to_owned()
    };
    let split = |line: &str| (0..COLUMNS.len()).map(|at| cell(line, at)).collect();
    let rows: Vec<Vec<String>> = table.lines().map(split).collect();
    assert_eq!(rows[0], COLUMNS, "{table}");
    for at in 1..COLUMNS.len() {
        let widest = rows.iter().map(|row| row[at - 1].len() + 3).max().unwrap().max(12);
        assert_eq!(starts[at] - starts[at - 1], widest, "{table}");
    }
    rows
}

/// The same container under bulkhead and under runc, with a name longer than the column.
fn both() -> [Container; 2] {
    let mut ours = Container::new();
    let mut theirs = Container::new();
    theirs.rt.binary = runc();
    for c in [&mut ours, &mut theirs] {
        c.args(&["/bin/sleep", "600"]);
        c.set("/ociVersion", json!("1.0.2"));
        c.call("run", &["--detach", "--pid-file", c.pid_file().to_str().unwrap()]).ok();
    }
    [ours, theirs]
}

#[test]
fn list_prints_what_runc_prints() {
    let containers = both();
    let mut widths = Vec::new();
    for c in &containers {
        let table = c.rt.call(&["list"]).ok().stdout;
        let rows = cells(&table);
        let [_, row] = rows.as_slice() else { panic!("{table}") };
        let pid = c.process().pid().to_string();
        let bundle = c.path().canonicalize().unwrap();
        assert_eq!(row[..4], [&c.id, &pid, "running", bundle.to_str().unwrap()], "{table}");
        humantime::parse_rfc3339(&row[4]).expect(&table);
        assert_eq!(row[5], "root", "{table}");
        assert!(table.lines().all(|line| !line.ends_with(' ')), "{table:?}");
        widths.push(row.iter().map(String::len).sum::<usize>());
        assert_eq!(c.rt.call(&["list", "--quiet"]).ok().stdout, format!("{}\n", c.id));
    }
    drop(containers);

    // Without a container, the header alone, and the same bytes.
    let mut none = Container::new();
    std::fs::create_dir(&none.rt.root).unwrap();
    let ours = none.rt.call(&["list"]).ok();
    let binary = std::mem::replace(&mut none.rt.binary, runc());
    let theirs = none.rt.call(&["list"]).ok();
    assert_eq!((&ours.stdout, ours.stderr.as_str()), (&theirs.stdout, ""));
    assert_eq!(ours.stdout.split_whitespace().collect::<Vec<_>>(), COLUMNS);
    none.rt.binary = binary;
}

#[test]
fn ps_prints_the_lines_of_ps() {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for c in &both() {
        let pid = c.process().pid().to_string();
        for options in [&["-ef"][..], &["-e", "-o", "pid,stat,args"], &["aux"]] {
            let mut line = vec!["ps", c.id.as_str()];
            // -ef is the default.
            line.extend(options.iter().filter(|option| **option != "-ef"));
            let said = c.rt.call(&line).ok().stdout;
            let output = Command::new("ps").args(options).arg("-ww").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let header = |text: &str| words(text.lines().next().unwrap());
            assert_eq!(header(&said), header(&text), "{options:?}: {said}");
            // Columns are as wide as what ps prints at that time, so the words are compared; and what
            // it has used of the processor can change.
            let own = |line: &&str| words(line).contains(&pid) && line.contains("/bin/sleep 600");
            let line = text.lines().find(own).expect(&text);
            let [row] = said.lines().skip(1).collect::<Vec<_>>()[..] else { panic!("{said}") };
            assert_eq!(words(row).len(), words(line).len(), "{row}: {line}");
            assert!(own(&row), "{row}");
        }
    }
}

/// On a terminal, ps(1) prints only the processes of that terminal, unless it is told which: the container's
/// are on none.
#[test]
fn ps_with_a_format_alone_finds_the_processes_on_a_terminal_too() {
    let [c, _] = both();
    let pid = c.process().pid();
    for options in ["-o pid,comm", "-o pid -o comm", "-opid,comm", "-o pid,comm --sort=pid", "-l"] {
        let line = format!(
            "{} --root {} ps {} {options}",
            c.rt.binary.display(),
            c.rt.root.display(),
            c.id
        );
        let mut script = Command::new("script");
        let output = script.args(["-qec", &line, "/dev/null"]).output().unwrap();
        let screen = String::from_utf8(output.stdout).unwrap();
        let [header, row] = screen.lines().collect::<Vec<_>>()[..] else { panic!("{screen}") };
        assert!(header.contains("PID"), "{screen}");
        assert!(row.contains(&pid.to_string()) && row.contains("sleep"), "{screen}");
    }
    // A selection is the user's.
    let said = c.rt.call(&["ps", &c.id, "-o", "pid,comm", "-p", "1"]).ok().stdout;
    assert_eq!(said.lines().count(), 1, "{said}");
}
