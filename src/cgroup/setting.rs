//! The types of settings: control files of a cgroup and their content.

use std::fmt::{self, Display, Formatter};

use super::limit::Amount;
use crate::list::List;

/// The two interfaces of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy for all controllers.
    V2,
}

/// The content of a control file. Its text is written with one write(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Number(u64),
    /// No limit, in the notation of the file: `max` or `-1`.
    Unlimited(&'static str),
    /// A list of CPUs or memory nodes.
    List(List),
    /// The content of `cpu.max`.
    Bandwidth {
        quota: Amount,
        /// The length of a period, unless it stays as it is.
        period: Option<u64>,
    },
    /// Anything else.
    Text(String),
}

impl Content {
    /// Returns an upper bound in the notation of a version.
    pub fn amount(version: Version, amount: Amount) -> Content {
        match (amount, version) {
            (Amount::Max, Version::V1) => Content::Unlimited("-1"),
            (Amount::Max, Version::V2) => Content::Unlimited("max"),
            (Amount::Of(number), _) => Content::Number(number),
        }
    }

    /// Parses the text of a control file, from `unified` or from the kernel.
    pub fn parse(file: &str, text: &str) -> Content {
        let words = text.trim();
        let content = match file {
            "cpu.max" => bandwidth(words),
            "cpuset.cpus" | "cpuset.mems" => {
                List::parse(words).filter(|list| !list.is_empty()).map(Content::List)
            }
            _ => match words {
                "max" => Some(Content::Unlimited("max")),
                "-1" => Some(Content::Unlimited("-1")),
                words => number(words).map(Content::Number),
            },
        };
        content.unwrap_or_else(|| Content::Text(text.to_owned()))
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn bandwidth(text: &str) -> Option<Content> {
    let mut words = text.split_ascii_whitespace();
    let quota = match words.next()? {
        "max" => Amount::Max,
        quota => Amount::Of(number(quota)?),
    };
    let period = match words.next() {
        None => None,
        Some(period) => Some(number(period).filter(|period| *period > 0)?),
    };
    words.next().is_none().then_some(Content::Bandwidth { quota, period })
}

impl Display for Content {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Content::Number(number) => number.fmt(f),
            Content::Unlimited(word) => f.write_str(word),
            Content::List(list) => list.fmt(f),
            Content::Bandwidth { quota, period } => {
                match quota {
                    Amount::Max => f.write_str("max")?,
                    Amount::Of(quota) => quota.fmt(f)?,
                }
                period.map_or(Ok(()), |period| write!(f, " {period}"))
            }
            Content::Text(text) => f.write_str(text),
        }
    }
}

impl From<u64> for Content {
    fn from(number: u64) -> Content {
        Content::Number(number)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Content {
        Content::Text(text)
    }
}

/// A control file and its new content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ControlFile {
    pub name: String,
    pub content: Content,
}

/// Returns the controller that has a control file; `cgroup` for the files that every v2 cgroup has.
pub(super) fn controller_of(file: &str) -> &str {
    file.split_once('.').map_or(file, |(controller, _)| controller)
}

/// One setting of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The field of config.json that requests the setting.
    pub field: &'static str,
    /// The candidates; the first that exists is written.
    pub files: Vec<ControlFile>,
    /// Whether a missing file is no error: the setting removes a limit, or is not essential.
    pub optional: bool,
    /// Whether the kernel checks the content against other files (quota and period, memory and
    /// swap). The right order of writes depends on their content: after EINVAL the write is
    /// repeated after the others.
    pub coupled: bool,
    /// The file with the current usage, if a limit below it is an error.
    pub floor: Option<&'static str>,
}

impl Setting {
    pub fn new(field: &'static str, file: &str, content: impl Into<Content>) -> Setting {
        Setting { field, files: Vec::new(), optional: false, coupled: false, floor: None }
            .or(file, content)
    }

    /// Returns the controller that has the file.
    pub fn controller(&self) -> &str {
        self.files.first().map_or("", |file| controller_of(&file.name))
    }

    /// Adds a file that is written if the files before it do not exist.
    pub fn or(mut self, file: &str, content: impl Into<Content>) -> Setting {
        self.files.push(ControlFile { name: file.to_owned(), content: content.into() });
        self
    }

    pub fn optional_if(self, optional: bool) -> Setting {
        Setting { optional, ..self }
    }

    pub fn coupled(self) -> Setting {
        Setting { coupled: true, ..self }
    }

    pub fn with_floor(self, floor: Option<&'static str>) -> Setting {
        Setting { floor, ..self }
    }
}
