//! The arguments of the commands that engines call for every container, parsed without clap.
//!
//! clap builds the definition of all commands before it looks at the first argument, which takes as
//! long as everything else that `state` does. Whatever this parser does not know, and whatever is
//! wrong, is left to clap: help, errors, rare commands and rare spellings. A test compares both on
//! generated command lines.

use std::ffi::OsString;
use std::path::PathBuf;
use std::slice::Iter;

use super::{
    Cli, Command, CreateArgs, DeleteArgs, ExecArgs, Global, IdArgs, KillArgs, ListArgs, ListFormat,
    LogFormat, RunArgs,
};

/// Parses the arguments, the first of which is the program's name. Returns `None` if clap has to.
pub fn parse(words: &[OsString]) -> Option<Cli> {
    let words: Option<Vec<&str>> = words.iter().skip(1).map(|word| word.to_str()).collect();
    let words = words?;
    let mut line = Line { words: words.iter(), seen: Vec::new(), value: None };
    let mut global = Global::default();
    let command = loop {
        match line.next()? {
            Word::Option(name) => global_option(&mut global, name, &mut line)?,
            Word::Positional(command) => break command,
            Word::End => return None,
        }
    };
    let command = match command {
        "create" => Command::Create(create(&mut global, &mut line)?),
        "run" => Command::Run(run(&mut global, &mut line)?),
        "exec" => Command::Exec(Box::new(exec(&mut global, &mut line)?)),
        "kill" => Command::Kill(kill(&mut global, &mut line)?),
        "delete" => Command::Delete(delete(&mut global, &mut line)?),
        "list" => Command::List(list(&mut global, &mut line)?),
        "start" => Command::Start(id_only(&mut global, &mut line)?),
        "state" => Command::State(id_only(&mut global, &mut line)?),
        "pause" => Command::Pause(id_only(&mut global, &mut line)?),
        "resume" => Command::Resume(id_only(&mut global, &mut line)?),
        _ => return None,
    };
    Some(Cli { global, version: false, command: Some(command) })
}

fn create(global: &mut Global, line: &mut Line) -> Option<CreateArgs> {
    let mut args = CreateArgs::default();
    let [id] = line.rest(global, |name, line| create_option(&mut args, name, line))?;
    args.id = id?;
    Some(args)
}

fn create_option<'a>(args: &mut CreateArgs, name: &'a str, line: &mut Line<'a>) -> Option<()> {
    match name {
        "-b" | "--bundle" => args.bundle = Some(line.once("--bundle")?.path()?),
        "--pid-file" => args.pid_file = Some(line.once(name)?.path()?),
        "--console-socket" => args.console_socket = Some(line.once(name)?.path()?),
        "--pidfd-socket" => args.pidfd_socket = Some(line.once(name)?.path()?),
        "--preserve-fds" => args.preserve_fds = line.once(name)?.value()?.parse().ok()?,
        "--no-pivot" => args.no_pivot = line.flag(name)?,
        "--no-new-keyring" => args.no_new_keyring = line.flag(name)?,
        _ => return None,
    }
    Some(())
}

fn run(global: &mut Global, line: &mut Line) -> Option<RunArgs> {
    let mut args = RunArgs::default();
    let [id] = line.rest(global, |name, line| {
        match name {
            "-d" | "--detach" => args.detach = line.flag("--detach")?,
            "--keep" => args.keep = line.flag(name)?,
            "--no-subreaper" => args.no_subreaper = line.flag(name)?,
            _ => create_option(&mut args.create, name, line)?,
        }
        Some(())
    })?;
    args.create.id = id?;
    Some(args)
}

fn exec(global: &mut Global, line: &mut Line) -> Option<ExecArgs> {
    let mut args = ExecArgs::default();
    args.id = loop {
        match line.next()? {
            Word::Positional(id) => break id.to_owned(),
            Word::Option(name) => match name {
                "-p" | "--process" => args.process = Some(line.once("--process")?.path()?),
                "-d" | "--detach" => args.detach = line.flag("--detach")?,
                "-t" | "--tty" => args.tty = line.flag("--tty")?,
                "-e" | "--env" => args.env.push(line.value()?.to_owned()),
                "-u" | "--user" => args.user = Some(line.once("--user")?.value()?.to_owned()),
                "--cwd" => args.cwd = Some(line.once(name)?.path()?),
                "--pid-file" => args.pid_file = Some(line.once(name)?.path()?),
                "--console-socket" => args.console_socket = Some(line.once(name)?.path()?),
                "--preserve-fds" => args.preserve_fds = line.once(name)?.value()?.parse().ok()?,
                _ => global_option(global, name, line)?,
            },
            Word::End => return None,
        }
    };
    // Everything from the first word of the command on belongs to the command.
    if line.words.as_slice().first().is_some_and(|word| word.starts_with('-')) {
        return None;
    }
    args.command = line.words.by_ref().map(|word| (*word).to_owned()).collect();
    Some(args)
}

fn kill(global: &mut Global, line: &mut Line) -> Option<KillArgs> {
    let mut all = false;
    let [id, signal] = line.rest(global, |name, line| match name {
        "-a" | "--all" => line.flag("--all").map(|set| all = set),
        _ => None,
    })?;
    Some(KillArgs { id: id?, signal: signal.unwrap_or_else(|| "TERM".to_owned()), all })
}

fn delete(global: &mut Global, line: &mut Line) -> Option<DeleteArgs> {
    let mut force = false;
    let [id] = line.rest(global, |name, line| match name {
        "-f" | "--force" => line.flag("--force").map(|set| force = set),
        _ => None,
    })?;
    Some(DeleteArgs { id: id?, force, regex: false })
}

fn list(global: &mut Global, line: &mut Line) -> Option<ListArgs> {
    let mut args = ListArgs { format: ListFormat::Table, quiet: false };
    let [] = line.rest(global, |name, line| {
        match name {
            "-q" | "--quiet" => args.quiet = line.flag("--quiet")?,
            "-f" | "--format" => {
                args.format = match line.once("--format")?.value()? {
                    "table" => ListFormat::Table,
                    "json" => ListFormat::Json,
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(())
    })?;
    Some(args)
}

fn id_only(global: &mut Global, line: &mut Line) -> Option<IdArgs> {
    let [id] = line.rest(global, |_, _| None)?;
    Some(IdArgs { id: id? })
}

fn global_option<'a>(global: &mut Global, name: &'a str, line: &mut Line<'a>) -> Option<()> {
    match name {
        "--root" => global.root = Some(line.once(name)?.path()?),
        "--log" => global.log = Some(line.once(name)?.path()?),
        "--log-format" => {
            global.log_format = match line.once(name)?.value()? {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return None,
            }
        }
        "--debug" => global.debug = line.flag(name)?,
        "--systemd-cgroup" => global.systemd_cgroup = line.flag(name)?,
        _ => return None,
    }
    Some(())
}

/// The arguments that are not parsed yet.
struct Line<'a> {
    words: Iter<'a, &'a str>,
    /// The options so far. clap decides what a repeated option means.
    seen: Vec<&'a str>,
    /// What follows the equals sign of the current option.
    value: Option<&'a str>,
}

enum Word<'a> {
    /// An option with its dashes.
    Option(&'a str),
    Positional(&'a str),
    End,
}

impl<'a> Line<'a> {
    fn next(&mut self) -> Option<Word<'a>> {
        // The last option had a value that it does not take.
        if self.value.is_some() {
            return None;
        }
        match self.words.next().copied() {
            None => Some(Word::End),
            Some("" | "-" | "--") => None,
            Some(word) if word.starts_with("--") => {
                let (name, value) =
                    word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v)));
                self.value = value;
                Some(Word::Option(name))
            }
            // A single letter: the forms -dt and -bDIR are rare.
            Some(word) if word.starts_with('-') => (word.len() == 2).then_some(Word::Option(word)),
            Some(word) => Some(Word::Positional(word)),
        }
    }

    /// Returns the value of the current option.
    fn value(&mut self) -> Option<&'a str> {
        let value = self.value.take().or_else(|| self.words.next().copied())?;
        // Whether these are values depends on the option.
        (!value.is_empty() && !value.starts_with('-')).then_some(value)
    }

    fn path(&mut self) -> Option<PathBuf> {
        self.value().map(PathBuf::from)
    }

    /// Notes an option that may not be repeated.
    fn once(&mut self, name: &'a str) -> Option<&mut Self> {
        if self.seen.contains(&name) {
            return None;
        }
        self.seen.push(name);
        Some(self)
    }

    fn flag(&mut self, name: &'a str) -> Option<bool> {
        self.once(name).map(|_| true)
    }

    /// Parses the rest of the line: options, and up to `N` other words.
    fn rest<const N: usize>(
        &mut self,
        global: &mut Global,
        mut option: impl FnMut(&'a str, &mut Self) -> Option<()>,
    ) -> Option<[Option<String>; N]> {
        let mut positionals = [const { None }; N];
        let mut count = 0;
        loop {
            match self.next()? {
                Word::Option(name) => {
                    option(name, self).or_else(|| global_option(global, name, self))?;
                }
                Word::Positional(word) => {
                    *positionals.get_mut(count)? = Some(word.to_owned());
                    count += 1;
                }
                Word::End => return Some(positionals),
            }
        }
    }
}

#[cfg(test)]
#[path = "hot_tests.rs"]
mod tests;
