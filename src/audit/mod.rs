//! The audit: what a container gives away, by its configuration or by the word of the kernel.
//!
//! [`subject`] holds the facts that rules ask for. [`config`] reads them from a config.json,
//! [`live`] from the kernel. [`rules`] and [`capabilities`] are tables of rules; each finds the
//! places where it is broken. [`report`] and [`sarif`] print the findings; [`fix`] changes a
//! configuration so that the worst of them are closed.

mod binds;
mod calls;
mod capabilities;
mod checks;
mod config;
mod devices;
mod fix;
mod live;
mod mount_info;
mod report;
mod rule;
mod rules;
mod sarif;
mod subject;

pub use config::Document;
pub use fix::{Change, fix};
pub use live::subject as live_subject;
pub use report::{Report, Style, wrap};
pub use rule::{Finding, Severity};
pub use rules::all as all_rules;
pub use sarif::log as sarif_log;
pub use subject::Subject;

/// Returns the findings about a subject, the worst first, without those of the `ignored` rules.
pub fn findings(subject: &Subject, ignored: &[String]) -> Vec<Finding> {
    let rules = all_rules().filter(|rule| !ignored.iter().any(|id| id == rule.id));
    let mut found: Vec<Finding> = rules.flat_map(|rule| rule.findings(subject)).collect();
    // Stable: the findings of a rule keep the order of the configuration.
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.rule.id.cmp(b.rule.id)));
    found
}

/// Whether there is a rule of that id.
pub fn is_rule(id: &str) -> bool {
    all_rules().any(|rule| rule.id == id)
}

#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod texts_tests;
