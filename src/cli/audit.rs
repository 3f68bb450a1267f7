//! `audit`: lists what a container gives away.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::args::{AuditArgs, AuditFormat, FailOn, Global};
use super::environment;
use super::output::{coloured, print, print_pretty_json};
use crate::audit::{self, Change, Document, Finding, Report, Severity, Style, Subject};
use crate::state::Entry;
use crate::{Context, Error, Kind, Result, config, container, fs, host, text};

/// The exit status if there are findings.
const FOUND: i32 = 2;

/// Prints the findings. Returns the exit status.
pub fn run(global: &Global, args: &AuditArgs) -> Result<i32> {
    if let Some(id) = args.ignore.iter().find(|id| !audit::is_rule(id)) {
        let why = "there is no such rule; audit.md in the documentation lists them";
        return Err(Error::invalid("--ignore", id, why));
    }
    let target = Target::new(global, args)?;
    let subject = target.subject()?;
    let findings = audit::findings(&subject, &args.ignore);
    let Target::File(file) = &target else {
        if args.fix {
            let why = "a running container cannot be changed; give its config.json";
            return Err(Error::invalid_field("--fix", why));
        }
        return show(args, &target.name(), &findings, &subject, None, &[]);
    };
    if !args.fix {
        return show(args, &file.name, &findings, &subject, Some(&file.raw), &[]);
    }
    let (hardened, changes) = file.fixed(&findings)?;
    let subject = hardened.subject()?;
    let left = audit::findings(&subject, &args.ignore);
    hardened.write(args.overwrite)?;
    show(args, &hardened.name, &left, &subject, Some(&hardened.raw), &changes)
}

/// Prints a report. Returns the exit status.
fn show(
    args: &AuditArgs,
    name: &str,
    findings: &[Finding],
    subject: &Subject,
    raw: Option<&[u8]>,
    changes: &[Change],
) -> Result<i32> {
    let report = Report { subject: name.to_owned(), findings, unread: &subject.unread };
    match args.format {
        AuditFormat::Text => {
            let listed = if args.fix { list(name, changes) } else { String::new() };
            print(
                (listed + &report.text(Style { coloured: coloured(&std::io::stdout()) }))
                    .as_bytes(),
            )?;
        }
        AuditFormat::Json => {
            let mut json = report.json();
            if args.fix {
                json["changes"] = serde_json::json!(changes);
            }
            print_pretty_json(&json)?;
        }
        AuditFormat::Sarif => {
            let text = raw.map(String::from_utf8_lossy);
            let source = text.as_deref().map(|text| (name, text));
            print_pretty_json(&audit::sarif_log(&report, source))?;
        }
    }
    let worst = findings.iter().map(|finding| finding.severity).max();
    let fails = worst.zip(least(args.fail_on)).is_some_and(|(worst, least)| worst >= least);
    Ok(if fails { FOUND } else { 0 })
}

/// Lists the changes of `--fix`.
fn list(name: &str, changes: &[Change]) -> String {
    let mut out = String::new();
    for change in changes {
        let line = format!("{}: {}", change.place, change.change);
        audit::wrap(&mut out, &format!("changed  {}  ", change.rule), &text::one_line(line));
        if !change.breaks.is_empty() {
            audit::wrap(&mut out, "         can break: ", change.breaks);
        }
    }
    let count = match changes.len() {
        0 => "no change".to_owned(),
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    };
    audit::wrap(
        &mut out,
        "",
        &format!("{}: written, with {count}", text::one_line(name.to_owned())),
    );
    out.push('\n');
    out
}

/// Returns the least severity that makes the command fail.
fn least(fail_on: FailOn) -> Option<Severity> {
    match fail_on {
        FailOn::Critical => Some(Severity::Critical),
        FailOn::High => Some(Severity::High),
        FailOn::Medium => Some(Severity::Medium),
        FailOn::Low => Some(Severity::Low),
        FailOn::Never => None,
    }
}

/// The target of an audit.
enum Target {
    File(File),
    Container(Box<Entry>),
}

impl Target {
    fn new(global: &Global, args: &AuditArgs) -> Result<Target> {
        let Some(target) = args.target.as_deref() else {
            return bundle(args.bundle.as_deref().unwrap_or(".".as_ref()));
        };
        if target == "-" {
            let name = "standard input".to_owned();
            return File::new(standard_input()?, name, "/".into()).map(Target::File);
        }
        let path = Path::new(target);
        if !target.contains('/') {
            match environment::load(global, target) {
                Ok(container) => return Ok(Target::Container(Box::new(container))),
                // The word is no container, and so a file. Without the file, the word was more
                // likely meant as a container.
                Err(error) if !path.exists() => {
                    let why = "there is no file of that name either";
                    return Err(if error.kind() == Kind::NotFound {
                        error.advice(why)
                    } else {
                        error
                    });
                }
                Err(_) => {}
            }
        }
        if path.is_dir() {
            return bundle(path);
        }
        let around = path.parent().filter(|around| !around.as_os_str().is_empty());
        let around = container::absolute_bundle(around.unwrap_or(".".as_ref()))?;
        let raw = config::read_config(path)?;
        let file = File::new(raw, target.to_owned(), around)?;
        Ok(Target::File(File { path: Some(path.to_owned()), ..file }))
    }

    fn name(&self) -> String {
        match self {
            Target::File(file) => file.name.clone(),
            Target::Container(container) => format!("container {}", container.id().as_str()),
        }
    }

    fn subject(&self) -> Result<Subject> {
        match self {
            Target::File(file) => file.subject(),
            Target::Container(container) => audit::live_subject(container),
        }
    }
}

fn bundle(directory: &Path) -> Result<Target> {
    let path = directory.join("config.json");
    let around = container::absolute_bundle(directory)?;
    let raw = config::load_bytes(&path)?;
    let name = path.strip_prefix(".").unwrap_or(&path).to_string_lossy().into_owned();
    let file = File::new(raw, name, around)?;
    Ok(Target::File(File { path: Some(path), is_bundle: true, ..file }))
}

/// A configuration.
struct File {
    /// Its name in the report.
    name: String,
    raw: Vec<u8>,
    document: Document,
    /// The directory at which relative paths start.
    around: PathBuf,
    /// Its path; none for standard input.
    path: Option<PathBuf>,
    /// Whether it is in a bundle, with its root file system.
    is_bundle: bool,
    /// The mode of a copy: the environment of the process can hold secrets.
    mode: u32,
}

impl File {
    fn new(raw: Vec<u8>, name: String, around: PathBuf) -> Result<File> {
        let document = Document::parse(raw.clone(), &name)?;
        Ok(File { name, raw, document, around, path: None, is_bundle: false, mode: 0o600 })
    }

    fn subject(&self) -> Result<Subject> {
        let mut subject = self.document.subject(&self.around, host::in_user_namespace()?);
        if self.is_bundle {
            subject.refused = self.document.refusal(&self.around);
        }
        Ok(subject)
    }

    /// Returns the hardened configuration, and the changes.
    fn fixed(&self, findings: &[Finding]) -> Result<(File, Vec<Change>)> {
        let Some(path) = &self.path else {
            let why = "the hardened file is written beside the file, so give one by its name";
            return Err(Error::invalid_field("--fix", why));
        };
        if let Some(why) = self.document.invalid() {
            let why = format!("the configuration is invalid: {why}");
            return Err(Error::new(Kind::Invalid, why).context("--fix"));
        }
        let mode = std::fs::metadata(path).with_context(|| format!("look at {path:?}"))?.mode();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = path.with_file_name(format!("{stem}.hardened.json"));
        let mut value = self.document.value.clone();
        let changes = audit::fix(&mut value, findings);
        let json = serde_json::to_string_pretty(&value)
            .map_err(|error| Error::new(Kind::System, format!("write JSON: {error}")))?;
        let raw = (json + "\n").into_bytes();
        let name = path.strip_prefix(".").unwrap_or(&path).to_string_lossy().into_owned();
        let document = Document::parse(raw.clone(), &name)?;
        let (around, is_bundle) = (self.around.clone(), self.is_bundle);
        Ok((File { name, raw, document, around, path: Some(path), is_bundle, mode }, changes))
    }

    /// Writes the file. Refuses to replace one, unless `overwrite` is set.
    fn write(&self, overwrite: bool) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mode = self.mode & 0o666;
        let failed = || format!("write {path:?}");
        if overwrite {
            // Relative to nothing: the path is the caller's.
            let here = rustix::fs::CWD;
            return fs::write_atomic(here.as_fd(), path, Mode::from_raw_mode(mode), &self.raw)
                .with_context(failed);
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(mode).open(path);
        let mut file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                Error::new(Kind::Invalid, format!("{path:?}: already exists; give --overwrite"))
            }
            _ => Error::from(error).context(failed()),
        })?;
        file.write_all(&self.raw).with_context(failed)
    }
}

fn standard_input() -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    let limit = config::MAX_BYTES + 1;
    std::io::stdin().lock().take(limit).read_to_end(&mut raw).context("read standard input")?;
    if raw.len() as u64 >= limit {
        let why = format!("is larger than {} MiB", config::MAX_BYTES >> 20);
        return Err(Error::new(Kind::Invalid, why).context("standard input"));
    }
    Ok(raw)
}
