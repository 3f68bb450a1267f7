//! The man pages that hack/manual.sh makes: that they are complete, and that groff accepts them.

#[path = "../hack/manual.rs"]
mod generator;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::skip;
use bulkhead::cli::Cli;
use clap::CommandFactory;

/// A directory with what the generator writes.
pub fn manual() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        // Test programs may run each test in a process of its own.
        let name = format!("manual-{}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&directory);
        generator::write(&directory).unwrap();
        directory
    })
}

/// Where a program is, if it is installed.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

#[test]
fn every_command_has_a_page_with_each_of_its_options() {
    let pages = manual().join("man");
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut wanted = vec!["bulkhead.8".to_owned()];
    let main = fs::read_to_string(pages.join("bulkhead.8")).unwrap();
    for command in std::iter::once(&root).chain(root.get_subcommands()) {
        let name = match command.get_name() {
            "bulkhead" => "bulkhead.8".to_owned(),
            name => format!("bulkhead-{name}.8"),
        };
        let text = fs::read_to_string(pages.join(&name)).expect(&name);
        let plain = text.replace("\\-", "-");
        for option in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(long) = option.get_long() else { continue };
            assert!(plain.contains(&format!("\\fB--{long}\\fR")), "{name}: --{long}");
        }
        if name != "bulkhead.8" {
            assert!(main.contains(&name.replace(".8", "(8)").replace('-', "\\-")), "{name}");
            wanted.push(name);
        }
    }
    let found = fs::read_dir(&pages).unwrap();
    let mut found: Vec<String> =
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

/// The order is that of man-pages(7).
#[test]
fn pages_have_the_sections_of_a_manual_in_order() {
    let pages = manual().join("man");
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    for command in std::iter::once(&root).chain(root.get_subcommands()) {
        let name = match command.get_name() {
            "bulkhead" => "bulkhead.8".to_owned(),
            name => format!("bulkhead-{name}.8"),
        };
        let text = fs::read_to_string(pages.join(&name)).unwrap().replace("\\-", "-");
        let titles: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        let at = |title: &str| titles.iter().position(|found| *found == title);
        let arguments = command.get_positionals().next().map(|_| "ARGUMENTS");
        let stateless = ["spec", "features", "info"].contains(&command.get_name());
        let wanted = ["NAME", "SYNOPSIS", "DESCRIPTION"].into_iter().chain(arguments);
        let wanted = wanted.chain(["OPTIONS", "EXIT STATUS", "ENVIRONMENT"]);
        let wanted = wanted.chain((!stateless).then_some("FILES")).chain(["SEE ALSO"]);
        let found: Vec<_> =
            wanted.map(|title| at(title).unwrap_or_else(|| panic!("{name}: {title}"))).collect();
        assert!(found.is_sorted(), "{name}: {titles:?}");
        assert_eq!(titles.last(), Some(&"SEE ALSO"), "{name}: {titles:?}");
        assert!(!text.contains("see a summary"), "{name}");
        // Its own page is not named, others exist.
        let related = text.split(".SH SEE ALSO\n").nth(1).unwrap();
        assert!(related.lines().count() > 1, "{name}: {related}");
        for line in related.lines() {
            let page = line.trim_start_matches("\\fB").replace("\\fR(", ".");
            let page = page.trim_end_matches(',').trim_end_matches(')');
            assert!(
                page != name && (!page.starts_with("bulkhead") || pages.join(page).exists()),
                "{name}: {page}"
            );
        }
    }
    let text = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    assert!(text("bulkhead.8").contains(".SH FILES\n.TP\n\\fB/run/bulkhead\\fR\n"));
    assert!(text("bulkhead-audit.8").contains(".SH EXIT STATUS\n0 if no finding is as severe"));
    assert!(text("bulkhead-run.8").contains(".SH EXIT STATUS\nThat of the process, or 128 plus"));
    assert!(text("bulkhead-kill.8").contains(".SH EXIT STATUS\n0 for success, 1 for an error.\n"));
}

#[test]
fn pages_are_rendered_without_a_warning() {
    if installed("groff").is_none() {
        skip!("groff is not installed");
    }
    for entry in fs::read_dir(manual().join("man")).unwrap() {
        let page = entry.unwrap().path();
        let mut groff = Command::new("groff");
        let output = groff.args(["-man", "-Tascii", "-ww", "-P-cbou"]).arg(&page).output().unwrap();
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty(), "{page:?}: {warnings}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("SYNOPSIS") && text.contains("OPTIONS"), "{page:?}: {text}");
        let long = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{page:?}");
    }
}
