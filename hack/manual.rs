//! Writes the man pages and the shell completions, generated from the definition of the command
//! line.
//!
//! An example and not a part of the program, so that its crate never reaches the binary. Called
//! by hack/manual.sh.

#[path = "manual/completions.rs"]
mod completions;

use std::error::Error;
use std::fs;
use std::path::Path;

use bulkhead::cli::Cli;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

#[allow(dead_code)] // The test takes this file as a module.
fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("usage: manual DIR")?;
    write(Path::new(&directory))
}

/// Writes `man/` and `completions/` below the directory.
pub fn write(directory: &Path) -> Result<(), Box<dyn Error>> {
    pages(&directory.join("man"))?;
    completions::write(&directory.join("completions"))
}

/// One page for the program, and one for each command.
fn pages(directory: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    let mut root = Cli::command().disable_help_subcommand(true).subcommand_value_name("COMMAND");
    root.build();
    for command in std::iter::once(&root).chain(root.get_subcommands()) {
        let (name, text) = page(command)?;
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

/// The page's file name and text.
fn page(command: &Command) -> Result<(String, Vec<u8>), Box<dyn Error>> {
    let mut command = command.clone();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let notes = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    // The version in the date's place: a date would be that of the build.
    let man = Man::new(command.override_usage(usage))
        .section("8")
        .date(env!("CARGO_PKG_VERSION"))
        .source("bulkhead")
        .manual("System Administration");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let name = man.get_filename();
    if name == "bulkhead.8" {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend_from_slice(sections(&notes).as_bytes());
    if name != "bulkhead.8" {
        text.extend_from_slice(b".SH SEE ALSO\n.BR bulkhead (8)\n");
    }
    Ok((name, text))
}

/// What stands behind the options in the help: examples as they are, other paragraphs as notes.
fn sections(help: &str) -> String {
    let (mut examples, mut notes) = (String::new(), String::new());
    for paragraph in help.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        match paragraph.strip_prefix("Examples:\n") {
            Some(lines) => examples += &format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", escaped(lines)),
            None if notes.is_empty() => notes = format!(".SH NOTES\n{}\n", escaped(paragraph)),
            None => notes += &format!(".PP\n{}\n", escaped(paragraph)),
        }
    }
    examples + &notes
}

/// Text as roff has it; no line of it may be taken for a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    let lines = text.lines().map(|line| match line.starts_with('.') {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
