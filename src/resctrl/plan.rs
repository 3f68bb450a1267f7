//! From `linux.intelRdt` to the groups of a container.

use std::path::PathBuf;

use super::files::{SCHEMATA, TASKS, find_root, make_group, write};
use super::record::Record;
use super::schemata::Schema;
use crate::{Error, Result, log};

/// The control group that is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// The group of all processes, which is the root of the file system.
    Default,
    /// A group that other containers may be in, too.
    Named(String),
    /// A group of the container's own, named after the container.
    Own,
}

/// `linux.intelRdt`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The container.
    pub id: String,
    /// The control group.
    pub class: Class,
    /// The limits, in the order in which they are written.
    pub schemata: Vec<Schema>,
    /// Whether the container gets a monitoring group.
    pub monitors: bool,
}

/// The groups of a container, before they are made.
#[derive(Debug)]
pub struct Plan {
    request: Request,
    root: PathBuf,
}

impl Plan {
    /// Looks for the file system, and checks what the request needs in it. Changes nothing.
    ///
    /// # Errors
    /// No mounted file system, a named group that is missing or has other limits, a group of the
    /// container's name with processes, a monitoring group of this name.
    pub fn new(request: Request) -> Result<Plan> {
        Plan::below(find_root()?, request)
    }

    /// Like [`Plan::new`], with the root of the file system.
    pub(super) fn below(root: PathBuf, request: Request) -> Result<Plan> {
        let plan = Plan { request, root };
        let record = plan.record();
        let is_named = plan.request.class != Class::Own;
        if is_named && record.made && plan.request.schemata.is_empty() {
            let why = "no such group, and no schema to make it with";
            return Err(Error::invalid("linux.intelRdt.closID", plan.name(), why));
        }
        plan.check_existing(&record)?;
        if record.monitor.as_ref().is_some_and(|dir| dir.exists()) {
            return Err(plan.monitor_exists());
        }
        Ok(plan)
    }

    /// Returns the record of groups as they would be made now.
    pub fn record(&self) -> Record {
        let dir = match &self.request.class {
            Class::Default => self.root.clone(),
            _ => self.root.join(self.name()),
        };
        let made = !dir.exists();
        Record {
            root: self.root.clone(),
            made,
            own: made && self.request.class == Class::Own,
            monitor: self.request.monitors.then(|| dir.join("mon_groups").join(&self.request.id)),
            dir,
        }
    }

    /// Makes the groups and sets the limits. After an error there are no groups.
    pub fn make(&self) -> Result<Record> {
        let mut record = self.record();
        record.made = record.dir != self.root && make_group(&self.root, &record.dir)?;
        record.own = record.made && self.request.class == Class::Own;
        let monitor = record.monitor.take();
        match self.fill(&mut record, monitor) {
            Ok(()) => Ok(record),
            Err(error) => {
                record.abandon().unwrap_or_else(log::warn);
                Err(error)
            }
        }
    }

    fn fill(&self, record: &mut Record, monitor: Option<PathBuf>) -> Result<()> {
        // Another runtime can have made the group since the plan.
        self.check_existing(record)?;
        for Schema { field, line } in &self.request.schemata {
            write(&self.root, &record.dir, SCHEMATA, line).map_err(|e| e.context(field))?;
        }
        let Some(monitor) = monitor else { return Ok(()) };
        if !make_group(&self.root, &monitor).map_err(|e| e.context(MONITORING))? {
            return Err(self.monitor_exists());
        }
        record.monitor = Some(monitor);
        Ok(())
    }

    /// Fails if the control group exists, and is not such a group as the container can share.
    fn check_existing(&self, record: &Record) -> Result<()> {
        if record.made {
            return Ok(());
        }
        if self.request.class != Class::Own {
            return self.check_limits(record);
        }
        if record.has_processes()? {
            let why =
                format!("the group {:?} has processes already; closID shares a group", record.dir);
            return Err(Error::invalid_field("linux.intelRdt", why));
        }
        Ok(())
    }

    fn check_limits(&self, record: &Record) -> Result<()> {
        if !record.dir.join(TASKS).exists() {
            let why = "no group of processes";
            return Err(Error::invalid("linux.intelRdt.closID", self.name(), why));
        }
        let mut schemata = self.request.schemata.iter();
        schemata.try_for_each(|schema| schema.check_equal(&self.root, &record.dir))
    }

    fn name(&self) -> &str {
        match &self.request.class {
            Class::Default => "/",
            Class::Named(name) => name,
            Class::Own => &self.request.id,
        }
    }

    fn monitor_exists(&self) -> Error {
        let why = format!("the monitoring group {:?} exists", self.request.id);
        Error::invalid_field(MONITORING, why)
    }
}

const MONITORING: &str = "linux.intelRdt.enableMonitoring";
