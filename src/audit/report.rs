//! The reports for humans and, in JSON, for programs.

use serde::Serialize;

use super::rule::{Finding, Severity};
use crate::text;

/// The findings about one container.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    /// The audited file or container.
    pub subject: String,
    /// The findings, the worst first.
    pub findings: &'a [Finding],
    /// What could not be read, each with the reason.
    pub unread: &'a [String],
}

/// The form of a report in text.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether severities are coloured.
    pub coloured: bool,
}

/// The width of a line.
const WIDTH: usize = 80;

impl Report<'_> {
    /// Returns the number of findings of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Returns the report in lines of at most 80 characters, but for long words.
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        for finding in self.findings {
            let severity = finding.severity.name();
            let (on, off) = if style.coloured { colour(finding.severity) } else { ("", "") };
            out += &format!("{on}{severity:<8}{off}  {}\n", finding.rule.id);
            let place = finding.place.to_string();
            let object = text::part(text::one_line(finding.object.clone()));
            let line = match (place.is_empty(), object.is_empty()) {
                (false, false) => format!("{place}: {object}"),
                (false, true) => place,
                (true, _) => object,
            };
            wrap(&mut out, "  at   ", &line);
            wrap(&mut out, "       ", finding.rule.means);
            wrap(&mut out, "  fix  ", finding.rule.change);
            out.push('\n');
        }
        for why in self.unread {
            wrap(&mut out, "not read: ", &text::one_line(why.clone()));
        }
        wrap(&mut out, "", &self.summary());
        out
    }

    /// Returns the last line of a report.
    fn summary(&self) -> String {
        let subject = text::part(text::one_line(self.subject.clone()));
        let counts = Severity::ALL.into_iter().filter_map(|severity| match self.count(severity) {
            0 => None,
            count => Some(format!("{count} {}", severity.name())),
        });
        let counts: Vec<_> = counts.collect();
        match (counts.is_empty(), self.unread.is_empty()) {
            (false, _) => format!("{subject}: {}", counts.join(", ")),
            (true, true) => format!("{subject}: nothing found"),
            (true, false) => format!("{subject}: nothing found in what could be read"),
        }
    }

    /// Returns the report as JSON.
    pub fn json(&self) -> serde_json::Value {
        let counts = Severity::ALL.map(|severity| {
            (severity.name().to_owned(), serde_json::Value::from(self.count(severity)))
        });
        let mut report = serde_json::json!(self);
        report["summary"] = counts.into_iter().collect::<serde_json::Map<_, _>>().into();
        report
    }
}

fn colour(severity: Severity) -> (&'static str, &'static str) {
    let on = match severity {
        Severity::Critical => "\u{1b}[1;31m",
        Severity::High => "\u{1b}[31m",
        Severity::Medium => "\u{1b}[33m",
        Severity::Low => "\u{1b}[36m",
    };
    (on, "\u{1b}[0m")
}

/// Appends words in lines of at most [`WIDTH`] characters. The first line begins with `label`, the
/// others with as many spaces.
pub fn wrap(out: &mut String, label: &str, words: &str) {
    let indent = label.chars().count();
    let mut column = indent;
    out.push_str(label);
    for (index, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 {
            if column + 1 + length > WIDTH {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_between_words() {
        let mut out = String::new();
        wrap(&mut out, "  at  ", &["word"; 40].join(" "));
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= 80 && !line.ends_with(' ')), "{out}");
        assert!(lines[0].starts_with("  at  word") && lines[1].starts_with("      word"), "{out}");
        let mut out = String::new();
        wrap(&mut out, "", &"x".repeat(100));
        assert_eq!(out.lines().count(), 1);
    }

    #[test]
    fn colours_change_nothing_but_the_severity() {
        let rule = crate::audit::all_rules().next().unwrap();
        let place = crate::audit::subject::Place::Field("/process".into());
        let findings = Severity::ALL.map(|severity| Finding {
            rule,
            severity,
            place: place.clone(),
            object: "a\nb".into(),
        });
        let report = Report { subject: "c".into(), findings: &findings, unread: &[] };
        let (plain, coloured) =
            (report.text(Style { coloured: false }), report.text(Style { coloured: true }));
        assert!(plain.starts_with("critical  BH-") && plain.contains("\n  at   process: a b\n"));
        assert!(plain.ends_with("\nc: 1 critical, 1 high, 1 medium, 1 low\n"), "{plain}");
        assert_eq!(coloured.matches("\u{1b}[0m").count(), 4);
        let on = Severity::ALL.map(colour);
        let stripped =
            on.iter().fold(coloured, |text, (on, off)| text.replace(on, "").replace(off, ""));
        assert_eq!(stripped, plain);
    }

    #[test]
    fn a_report_without_findings_says_so() {
        let unread = ["x".to_owned()];
        let report = |unread| Report { subject: "a\u{1b}b".into(), findings: &[], unread };
        let style = Style { coloured: true };
        assert_eq!(report(&[]).text(style), "a\\u{1b}b: nothing found\n");
        assert!(report(&unread).text(style).ends_with("nothing found in what could be read\n"));
    }
}
