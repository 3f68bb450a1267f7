//! What a rule is, and what it finds.

use caps::Capability;
use serde::{Serialize, Serializer};

use super::subject::{Place, Subject, Users};

/// How much a finding gives away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Hardening that is missing; nothing follows from it alone.
    Low,
    /// Makes an attack on the kernel or on a neighbour easier.
    Medium,
    /// Reaches data or processes of the host, or takes the host down.
    High,
    /// Root on the host, by design of the kernel and without a fault in it.
    Critical,
}

impl Severity {
    /// The severities, worst first.
    pub const ALL: [Severity; 4] =
        [Severity::Critical, Severity::High, Severity::Medium, Severity::Low];

    /// Returns the name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// Returns the next lower severity.
    pub fn lower(self) -> Severity {
        match self {
            Severity::Critical => Severity::High,
            Severity::High => Severity::Medium,
            Severity::Medium | Severity::Low => Severity::Low,
        }
    }
}

/// What a user namespace of the container's own takes away from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The finding rests on capabilities, which are then valid in that namespace only.
    Rights,
    /// The finding rests on files that belong to the host's root, which the container is then not,
    /// unless the namespace maps that user.
    Files,
    /// The finding does not depend on users.
    Any,
}

/// How a rule finds.
#[derive(Clone, Copy)]
pub enum Find {
    /// A capability that the program has, or can gain.
    Capability(Capability),
    /// A function that returns each place where the rule is broken.
    With(fn(&Subject) -> Vec<Hit>),
}

/// A rule of the audit.
pub struct Rule {
    /// The stable name, which users give to `--ignore`.
    pub id: &'static str,
    /// The severity.
    pub severity: Severity,
    /// What a user namespace takes away.
    pub scope: Scope,
    /// The severity inside of that user namespace; `None` means that nothing is left to report.
    pub confined: Option<Severity>,
    /// What the finding means, in one sentence.
    pub means: &'static str,
    /// The change that closes it, in the imperative.
    pub change: &'static str,
    /// The effects that the change can have on the program.
    pub breaks: &'static str,
    /// How the rule finds.
    pub find: Find,
}

/// A place where a rule is broken.
pub struct Hit {
    /// The place.
    pub place: Place,
    /// The object, such as a capability or a path; empty if the rule needs none.
    pub object: String,
    /// The severity, if it is not that of the rule.
    pub severity: Option<Severity>,
    /// Whether a user namespace takes nothing away, whatever the rule says.
    pub anywhere: bool,
}

impl Hit {
    /// Returns a hit with the severity of its rule.
    pub fn new(place: &Place, object: impl Into<String>) -> Hit {
        Hit { place: place.clone(), object: object.into(), severity: None, anywhere: false }
    }

    /// Sets the severity.
    pub fn with(mut self, severity: Severity) -> Hit {
        self.severity = Some(severity);
        self
    }
}

/// Something that a container gives away.
pub struct Finding {
    /// The rule that found it.
    pub rule: &'static Rule,
    /// Its severity in this container.
    pub severity: Severity,
    /// Its place.
    pub place: Place,
    /// The object; empty if the rule needs none.
    pub object: String,
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = to.serialize_struct("Finding", 7)?;
        out.serialize_field("rule", self.rule.id)?;
        out.serialize_field("severity", &self.severity)?;
        out.serialize_field("place", &self.place.to_string())?;
        out.serialize_field("pointer", &self.place.pointer())?;
        out.serialize_field("object", &self.object)?;
        out.serialize_field("means", self.rule.means)?;
        out.serialize_field("change", self.rule.change)?;
        out.end()
    }
}

impl Rule {
    /// Returns the findings of this rule.
    pub fn findings(&'static self, subject: &Subject) -> Vec<Finding> {
        let hits = match self.find {
            Find::Capability(capability) => self.capability(capability, subject),
            Find::With(find) => find(subject),
        };
        hits.into_iter().filter_map(|hit| self.finding(hit, subject)).collect()
    }

    /// Returns a hit if the program has the capability, or can gain it. What it can only gain
    /// through a program of the image is less severe.
    fn capability(&self, capability: Capability, subject: &Subject) -> Vec<Hit> {
        let [held, gainable] = &subject.caps.places;
        if subject.holds(capability) {
            vec![Hit::new(held, capability.to_string())]
        } else if subject.reaches(capability) {
            let object = format!("{capability}, by a set-user-ID program");
            vec![Hit::new(gainable, object).with(self.severity.lower())]
        } else {
            Vec::new()
        }
    }

    fn finding(&'static self, hit: Hit, subject: &Subject) -> Option<Finding> {
        let confined = match self.scope {
            Scope::Rights => subject.users != Users::Host,
            Scope::Files => subject.users == Users::Own,
            Scope::Any => false,
        };
        let mut severity = hit.severity.unwrap_or(self.severity);
        if confined && !hit.anywhere {
            severity = severity.min(self.confined?);
        }
        if self.scope == Scope::Files && subject.uid != 0 {
            severity = severity.lower();
        }
        Some(Finding { rule: self, severity, place: hit.place, object: hit.object })
    }
}
