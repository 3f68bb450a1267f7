//! Writes the man pages and the shell completions, generated from the definition of the command
//! line.
//!
//! An example and not a part of the program, so that its crate never reaches the binary. Called
//! by hack/manual.sh.

#[path = "manual/completions.rs"]
mod completions;
#[path = "manual/texts.rs"]
mod texts;

use std::error::Error;
use std::fs;
use std::path::Path;

use bulkhead::cli::Cli;
use clap::{Arg, Command, CommandFactory};
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
    let name = command.get_name().to_owned();
    let mut command = command.clone().mut_arg("help", |arg| arg.long_help("Print help"));
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let command = command.override_usage(usage);
    let man = manual(command.clone());
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_positionals().next().is_some() {
        let arguments = only(&command, Arg::is_positional)?;
        let title = ".SH ARGUMENTS\n";
        text.extend_from_slice(arguments.replacen(".SH OPTIONS\n", title, 1).as_bytes());
    }
    text.extend_from_slice(only(&command, |arg| !arg.is_positional())?.as_bytes());
    if name == "bulkhead" {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend_from_slice(sections(&name, &help).as_bytes());
    Ok((man.get_filename(), text))
}

fn manual(command: Command) -> Man {
    // The version in the date's place: a date would be that of the build.
    Man::new(command)
        .section("8")
        .date(env!("CARGO_PKG_VERSION"))
        .source("bulkhead")
        .manual("System Administration")
}

/// The sections of the options and arguments that are chosen.
fn only(command: &Command, chosen: fn(&Arg) -> bool) -> Result<String, Box<dyn Error>> {
    let hide = |arg: Arg| if chosen(&arg) { arg } else { arg.hide(true) };
    let mut text = Vec::new();
    manual(command.clone().mut_args(hide)).render_options_section(&mut text)?;
    Ok(String::from_utf8(text)?)
}

/// The sections behind the options, in the order of man-pages(7). The help has the exit status, examples as they are,
/// and notes.
fn sections(command: &str, help: &str) -> String {
    let mut status = "0 for success, 1 for an error.".to_owned();
    let (mut examples, mut notes) = (String::new(), String::new());
    for paragraph in help.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        if let Some(lines) = paragraph.strip_prefix("Examples:\n") {
            examples += &format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", escaped(lines));
        } else if let Some(text) = paragraph.strip_prefix("Exit status: ") {
            status = text.replacen("that of", "That of", usize::from(text.starts_with("that of")));
        } else {
            let title = if notes.is_empty() { ".SH NOTES" } else { ".PP" };
            notes += &format!("{title}\n{}\n", escaped(paragraph));
        }
    }
    let status = format!(".SH EXIT STATUS\n{}\n", escaped(&status));
    let environment = list("ENVIRONMENT", &texts::variables(command));
    let files = list("FILES", &texts::files(command));
    let related: Vec<String> = texts::related(command).into_iter().map(reference).collect();
    let related = format!(".SH SEE ALSO\n{}\n", related.join(",\n"));
    status + &environment + &files + &notes + &examples + &related
}

/// A section of terms and their meaning; nothing without terms.
fn list(title: &str, rows: &[(&str, &str)]) -> String {
    let rows: String = rows
        .iter()
        .map(|(term, meaning)| format!(".TP\n\\fB{}\\fR\n{}\n", escaped(term), escaped(meaning)))
        .collect();
    if rows.is_empty() { rows } else { format!(".SH {title}\n{rows}") }
}

/// A page such as `ps(1)`, with its name in bold.
fn reference(page: &str) -> String {
    let (name, section) = page.split_once('(').unwrap_or((page, ""));
    format!("\\fB{}\\fR({section}", escaped(name))
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
