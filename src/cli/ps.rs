//! `ps`: lists the processes of a container.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use super::args::{Global, ListFormat, PsArgs};
use super::environment;
use super::output::{print, print_json};
use crate::container::ps::processes;
use crate::{Context, Error, Kind, Result};

/// Prints the output of the host's ps(1), reduced to the container's lines, or the ids as JSON.
pub fn run(global: &Global, args: &PsArgs) -> Result<()> {
    let (id, options) = split(&args.words)?;
    let pids = processes(&environment::load(global, id)?)?;
    match args.format {
        ListFormat::Json => print_json(&pids),
        ListFormat::Table => print(table(&ps(options)?, &pids)?.as_bytes()),
    }
}

/// Splits the arguments into the container's id and the options for ps(1), without a leading `--`.
fn split(words: &[OsString]) -> Result<(&str, &[OsString])> {
    let Some((id, options)) = words.split_first() else {
        return Err(Error::invalid_field("ID", "missing"));
    };
    let id = id.to_str().ok_or_else(|| Error::invalid("ID", id, "must be UTF-8"))?;
    let options = match options.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => options,
    };
    Ok((id, options))
}

/// Returns the output of the host's ps(1).
fn ps(options: &[OsString]) -> Result<String> {
    let usual = [OsString::from("-ef")];
    let options = if options.is_empty() { &usual } else { options };
    // Without a selection ps prints the processes of the caller's terminal, where none of the container is.
    let all = format_alone(options).then_some("-e");
    let output = Command::new("ps")
        .args(all)
        .args(options)
        .stdin(Stdio::null())
        .output()
        .context("run ps")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let why = match said.lines().map(str::trim).find(|line| !line.is_empty()) {
            Some(line) => format!("{}: {line}", output.status),
            None => output.status.to_string(),
        };
        return Err(Error::new(Kind::System, why)).with_context(|| format!("run ps {options:?}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether options of ps(1) choose the form of the output, but no processes.
fn format_alone(options: &[OsString]) -> bool {
    let mut value_is_next = false;
    options.iter().all(|word| {
        if std::mem::take(&mut value_is_next) {
            return true;
        }
        let Some(word) = word.to_str() else { return false };
        value_is_next = matches!(word, "-o" | "-O" | "--format" | "--sort" | "--cols");
        value_is_next
            || ["-o", "-O", "--format=", "--sort=", "--cols="]
                .iter()
                .any(|start| word.starts_with(start))
            || matches!(word, "--forest" | "--no-headers")
            || word.strip_prefix('-').is_some_and(|letters| {
                !letters.is_empty() && letters.chars().all(|letter| "FHLTflwy".contains(letter))
            })
    })
}

/// Returns the header, and the lines whose column `PID` has one of `pids`. A line without a number
/// there belongs to no process: ps can print several lines for a process.
fn table(output: &str, pids: &[i32]) -> Result<String> {
    let header = output.lines().next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|title| title == "PID") else {
        let why = "ps printed no column PID; choose a format that has one, such as -o pid,comm";
        return Err(Error::new(Kind::Invalid, why));
    };
    let ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|field| field.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let mut text = String::from(header) + "\n";
    for line in output.lines().skip(1).filter(ours) {
        text += line;
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_follows_the_id_is_for_ps() {
        for (given, wanted) in [
            (&["c1"][..], &[][..]),
            (&["c1", "--", "-o", "pid"], &["-o", "pid"]),
            (&["c1", "-aux"], &["-aux"]),
            (&["c1", "--", "--"], &["--"]),
        ] {
            let given = words(given);
            let (id, options) = split(&given).unwrap();
            assert_eq!((id, options), ("c1", &words(wanted)[..]));
        }
        assert!(split(&[]).is_err());
    }

    #[test]
    fn a_selection_is_told_from_a_format() {
        for line in ["-o pid", "-opid", "-o pid --sort pid", "-f", "-lww", "--format=pid -H"] {
            assert!(format_alone(&words(&line.split(' ').collect::<Vec<_>>())), "{line}");
        }
        for line in ["-ef", "aux", "-p 1", "-o pid -p 1", "-C sleep", "--pid 1", "1", "-", "u"] {
            assert!(!format_alone(&words(&line.split(' ').collect::<Vec<_>>())), "{line}");
        }
    }

    #[test]
    fn only_the_lines_of_the_processes_are_kept() {
        let output = "USER  PID COMMAND\nroot   1 init\nroot  12 a 1\nroot  21 b\n   continued\n";
        assert_eq!(table(output, &[12, 3]).unwrap(), "USER  PID COMMAND\nroot  12 a 1\n");
        assert_eq!(table("PID\n", &[1]).unwrap(), "PID\n");
        for none in ["", "COMMAND\nPID\n", "PPID\n 1\n"] {
            assert_eq!(table(none, &[1]).unwrap_err().kind(), Kind::Invalid);
        }
    }
}
