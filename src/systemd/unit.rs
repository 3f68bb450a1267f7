//! Creating, changing and stopping units.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::{Address, Environment};
use super::bus::{Bus, Failure};
use super::manager;
use super::names::{Names, check};
use super::value::{Property, Value};
use crate::{Context, Error, Kind, Result};

/// How long systemd may take to start a unit, or to change one.
const START: Duration = Duration::from_secs(30);

/// How long systemd may take to stop a unit without processes.
const STOP: Duration = Duration::from_secs(10);

/// A unit to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct TransientUnit {
    pub unit: Unit,
    /// The slice of a scope. The place of a slice follows from its name.
    pub slice: Option<String>,
    pub properties: Vec<Property>,
}

/// A unit of a container, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    pub name: String,
    /// The description, which identifies the unit as the container's.
    pub description: String,
    /// Whether it belongs to the service manager of the user.
    pub user: bool,
    pub address: Address,
}

impl TransientUnit {
    /// Describes the unit of the container `id`. `user` selects the service manager of the user.
    pub fn new(
        id: &str,
        names: &Names,
        user: bool,
        environment: &Environment,
    ) -> Result<TransientUnit> {
        let unit = Unit {
            name: names.unit.clone(),
            description: format!("bulkhead container {id}"),
            user,
            address: Address::find(user, environment)?,
        };
        let slice = (!names.is_slice()).then(|| names.slice.clone());
        Ok(TransientUnit { unit, slice, properties: Vec::new() })
    }

    /// Adds properties; the last value of a name wins.
    pub fn add(&mut self, properties: impl IntoIterator<Item = Property>) {
        for property in properties {
            match property.value.as_str().filter(|_| property.name == "Description") {
                Some(text) => self.unit.description = text.to_owned(),
                None => self.properties.push(property),
            }
        }
    }

    /// Starts the unit, with process `pid` in it if it is a scope, and waits for it. Returns the
    /// path of its cgroup below the root of the hierarchy.
    pub fn start(&self, pid: i32) -> Result<PathBuf> {
        self.start_within(pid, START)
            .with_context(|| format!("--systemd-cgroup: start {:?}", self.unit.name))
    }

    pub(super) fn start_within(&self, pid: i32, limit: Duration) -> Result<PathBuf> {
        let mut bus = self.unit.connect(limit)?;
        manager::watch_jobs(&mut bus)?;
        let properties = manager::supported(&mut bus, &self.all(pid))?;
        let name = || Value::str(&self.unit.name);
        let no_others = Value::Array("(sa(sv))".to_owned(), Vec::new());
        let arguments = vec![name(), Value::str("replace"), properties, no_others];
        let mut answer = manager::call(&mut bus, "StartTransientUnit", arguments.clone());
        if matches!(&answer, Err(Failure::Refused(error, _)) if error.ends_with(".UnitExists")) {
            // A failed unit of that name stays until it is reset.
            manager::ignore_refusal(manager::call(&mut bus, "ResetFailedUnit", vec![name()]))?;
            answer = manager::call(&mut bus, "StartTransientUnit", arguments);
        }
        let job = answer?;
        let result = manager::wait_for_job(&mut bus, &job)?;
        if result != "done" {
            manager::ignore_refusal(manager::call(&mut bus, "ResetFailedUnit", vec![name()]))?;
            let why = format!("systemd's job has ended as {result:?}; its journal tells why");
            return Err(Error::new(Kind::System, why));
        }
        // Without this check a slice would stay, and nothing would know of it.
        self.unit.cgroup(&mut bus).inspect_err(|_| drop(self.unit.stop_on(&mut bus)))
    }

    fn all(&self, pid: i32) -> Vec<Property> {
        let mut all = vec![Property::new("Description", Value::str(&self.unit.description))];
        if let Some(slice) = &self.slice {
            all.push(Property::new("Slice", Value::str(slice)));
            all.push(Property::new("Delegate", Value::Bool(true)));
            all.push(Property::new("PIDs", processes(pid)));
        }
        all.push(Property::new("DefaultDependencies", Value::Bool(false)));
        all.extend(self.properties.iter().cloned());
        all
    }
}

fn processes(pid: i32) -> Value {
    // The kernel gives no negative ids.
    Value::Array("u".to_owned(), vec![Value::U32(pid.cast_unsigned())])
}

impl Unit {
    fn connect(&self, limit: Duration) -> Result<Bus> {
        // Check that this runtime could have stored the name: another name could stop a service of
        // the host.
        let ours = self.name.ends_with(".scope") || self.name.ends_with(".slice");
        if !ours || self.name == "-.slice" || check(&self.name).is_err() {
            let why = "not the unit of a container; nothing is done to it";
            return Err(Error::new(Kind::State, why).context(format!("unit {:?}", self.name)));
        }
        let whose = if self.user { "user's" } else { "system's" };
        Bus::connect(&self.address, limit)
            .with_context(|| format!("ask the {whose} service manager"))
    }

    /// Calls `work`, which `purpose` describes, with a connection to the service manager.
    fn on_bus(
        &self,
        limit: Duration,
        purpose: &str,
        work: impl FnOnce(&mut Bus) -> Result<()>,
    ) -> Result<()> {
        self.connect(limit)
            .and_then(|mut bus| work(&mut bus))
            .with_context(|| format!("{purpose} {:?}", self.name))
    }

    /// Stops the unit and resets its failure. Its processes must be dead. A unit that does not
    /// exist, which is the usual case, is no error.
    pub fn stop(&self) -> Result<()> {
        self.on_bus(STOP, "stop", |bus| self.stop_on(bus))
    }

    fn stop_on(&self, bus: &mut Bus) -> Result<()> {
        manager::watch_jobs(bus)?;
        let arguments = vec![Value::str(&self.name), Value::str("replace")];
        match manager::call(bus, "StopUnit", arguments) {
            Ok(job) => drop(manager::wait_for_job(bus, &job)?),
            Err(Failure::Refused(error, _)) if error.ends_with(".NoSuchUnit") => {}
            Err(failure) => return Err(failure.into()),
        }
        manager::ignore_refusal(manager::call(bus, "ResetFailedUnit", vec![Value::str(&self.name)]))
    }

    /// Kills all processes of the unit and stops it, if it belongs to this container: for a create
    /// that died before it could record the unit.
    pub fn abandon(&self) -> Result<()> {
        self.on_bus(STOP, "stop", |bus| {
            match self.get(bus, "org.freedesktop.systemd1.Unit", "Description") {
                Ok(Value::Str(text)) if text == self.description => {}
                // A unit that does not exist has its name as the description.
                Ok(_) | Err(Failure::Refused(..)) => return Ok(()),
                Err(Failure::Broken(error)) => return Err(error),
            }
            let arguments =
                vec![Value::str(&self.name), Value::str("all"), Value::I32(libc::SIGKILL)];
            manager::ignore_refusal(manager::call(bus, "KillUnit", arguments))?;
            self.stop_on(bus)
        })
    }

    /// Changes properties of the unit until it ends.
    pub fn set(&self, properties: &[Property]) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        self.on_bus(START, "set the properties of", |bus| {
            let properties = manager::supported(bus, properties)?;
            let runtime = Value::Bool(true);
            let arguments = vec![Value::str(&self.name), runtime, properties];
            Ok(manager::call(bus, "SetUnitProperties", arguments).map(drop)?)
        })
    }

    /// Moves process `pid` into `below` in the cgroup of the unit, on behalf of a user who may not
    /// move a process out of the cgroup of the login session.
    pub fn attach(&self, below: &Path, pid: i32) -> Result<()> {
        let below = below.to_str().ok_or_else(|| Error::new(Kind::Invalid, "is not UTF-8"))?;
        let below = Value::str(format!("/{below}"));
        let arguments = vec![Value::str(&self.name), below, processes(pid)];
        self.on_bus(START, "put the process into", |bus| {
            Ok(manager::call(bus, "AttachProcessesToUnit", arguments).map(drop)?)
        })
    }

    fn get(&self, bus: &mut Bus, interface: &str, property: &str) -> Result<Value, Failure> {
        manager::get(bus, &manager::unit_path(&self.name), interface, property)
    }

    /// Returns the path of the cgroup.
    fn cgroup(&self, bus: &mut Bus) -> Result<PathBuf> {
        let kind = if self.name.ends_with(".slice") { "Slice" } else { "Scope" };
        let interface = format!("org.freedesktop.systemd1.{kind}");
        let value = self.get(bus, &interface, "ControlGroup").context("ask for its cgroup")?;
        let path = Path::new(value.as_str().unwrap_or_default());
        let plain = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
        if path.is_absolute() && plain && path != Path::new("/") {
            return Ok(path.to_owned());
        }
        Err(Error::new(Kind::System, format!("systemd says that its cgroup is {path:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_name_must_be_a_container_s() {
        for name in ["ssh.service", "-.slice", "x/y.scope", "", "a.scope\n"] {
            let unit = Unit {
                name: name.to_owned(),
                description: String::new(),
                user: false,
                address: Address::find(false, &Environment::default()).unwrap(),
            };
            for result in
                [unit.stop(), unit.abandon(), unit.set(&[Property::new("A", Value::Byte(0))])]
            {
                assert_eq!(result.unwrap_err().kind(), Kind::State, "{name:?}");
            }
        }
    }

    #[test]
    fn a_slice_is_given_no_process() {
        let names = |path: &str| Names::new("c", Some(Path::new(path)), false).unwrap();
        let all = |path: &str| {
            let unit =
                TransientUnit::new("c", &names(path), false, &Environment::default()).unwrap();
            let all = unit.all(7);
            all.iter().map(|property| property.name.clone()).collect::<Vec<_>>()
        };
        let common = ["Description", "DefaultDependencies"];
        assert_eq!(all("::a.slice"), common);
        assert_eq!(all("::a"), ["Description", "Slice", "Delegate", "PIDs", "DefaultDependencies"]);
    }
}
