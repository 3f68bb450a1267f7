//! What is asked of systemd.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::bus::{Bus, Failure};
use super::names::{Names, check};
use super::value::Value;
use crate::{Context, Error, Kind, Result, log};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const PATH: &str = "/org/freedesktop/systemd1";

/// How long systemd may take to start a unit, or to change one.
const START: Duration = Duration::from_secs(30);

/// How long it may take to stop one that has no processes any more.
const STOP: Duration = Duration::from_secs(10);

/// What every supported systemd has; only for more is its version asked for.
const OLDEST: u32 = 240;

/// One setting of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// As in org.freedesktop.systemd1(5), which is not always as in a unit file.
    pub name: String,
    /// What it is set to.
    pub value: Value,
    /// The first version of systemd that has it. Older ones are not told: the cgroup's file is
    /// written all the same.
    pub since: u32,
    /// The file that older ones set back, though they do not have the property.
    pub set_back: Option<&'static str>,
}

impl Property {
    /// One that every systemd knows.
    pub fn new(name: &str, value: Value) -> Property {
        Property { name: name.to_owned(), value, since: 0, set_back: None }
    }

    /// One that systemd knows since `version`.
    pub fn since(version: u32, name: &str, value: Value) -> Property {
        Property { since: version, ..Property::new(name, value) }
    }

    /// The same, of a file that older versions set back.
    pub fn that_is_set_back(self, file: &'static str) -> Property {
        Property { set_back: Some(file), ..self }
    }
}

/// A unit that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The unit.
    pub unit: Unit,
    /// The slice for a scope; one that is itself a slice stands where its name says.
    pub slice: Option<String>,
    /// Its limits and other settings.
    pub properties: Vec<Property>,
}

/// A unit of ours, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// What its Description says, by which it is known to be ours.
    pub description: String,
    /// Whether the user's own service manager has it.
    pub user: bool,
    /// Where that is asked.
    pub address: Address,
}

impl Request {
    /// The unit for container `id`. Nothing is asked yet.
    pub fn new(id: &str, names: &Names, user: bool) -> Result<Request> {
        let unit = Unit {
            name: names.unit.clone(),
            description: format!("bulkhead container {id}"),
            user,
            address: Address::find(user)?,
        };
        let slice = (!names.is_slice()).then(|| names.slice.clone());
        Ok(Request { unit, slice, properties: Vec::new() })
    }

    /// Adds settings; a later one of the same name wins.
    pub fn add(&mut self, properties: impl IntoIterator<Item = Property>) {
        for property in properties {
            match property.value.as_str().filter(|_| property.name == "Description") {
                Some(text) => self.unit.description = text.to_owned(),
                None => self.properties.push(property),
            }
        }
    }

    /// Starts the unit, with process `pid` in it if it is a scope, and waits until it is there.
    /// Returns its cgroup's path below the root of the hierarchy.
    pub fn start(&self, pid: i32) -> Result<PathBuf> {
        self.start_within(pid, START)
            .with_context(|| format!("--systemd-cgroup: start {:?}", self.unit.name))
    }

    pub(super) fn start_within(&self, pid: i32, limit: Duration) -> Result<PathBuf> {
        let mut bus = self.unit.connect(limit)?;
        watch_jobs(&mut bus)?;
        let properties = known(&mut bus, &self.all(pid)?)?;
        let name = || Value::str(&self.unit.name);
        let no_others = Value::Array("(sa(sv))".to_owned(), Vec::new());
        let arguments = vec![name(), Value::str("replace"), properties, no_others];
        let mut answer = manager(&mut bus, "StartTransientUnit", arguments.clone());
        if matches!(&answer, Err(Failure::Refused(error, _)) if error.ends_with(".UnitExists")) {
            // A failed one of that name stays until somebody has taken notice of it.
            refusal_is_fine(manager(&mut bus, "ResetFailedUnit", vec![name()]))?;
            answer = manager(&mut bus, "StartTransientUnit", arguments);
        }
        let job = answer?;
        let result = wait_for_job(&mut bus, &job)?;
        if result != "done" {
            refusal_is_fine(manager(&mut bus, "ResetFailedUnit", vec![name()]))?;
            let why = format!("systemd's job has ended as {result:?}; its journal tells why");
            return Err(Error::new(Kind::System, why));
        }
        // A slice would stay without this, and nobody would know it.
        self.unit.cgroup(&mut bus).inspect_err(|_| drop(self.unit.stop_on(&mut bus)))
    }

    fn all(&self, pid: i32) -> Result<Vec<Property>> {
        let mut all = vec![Property::new("Description", Value::str(&self.unit.description))];
        if let Some(slice) = &self.slice {
            let pid = u32::try_from(pid).map_err(|_| Error::new(Kind::System, "no process id"))?;
            all.push(Property::new("Slice", Value::str(slice)));
            all.push(Property::new("Delegate", Value::Bool(true)));
            all.push(Property::new("PIDs", Value::Array("u".to_owned(), vec![Value::U32(pid)])));
        }
        all.push(Property::new("DefaultDependencies", Value::Bool(false)));
        all.extend(self.properties.iter().cloned());
        Ok(all)
    }
}

impl Unit {
    fn connect(&self, limit: Duration) -> Result<Bus> {
        // What is stored is believed only if it is what this runtime could have stored: another
        // name would stop a service of the host.
        let ours = self.name.ends_with(".scope") || self.name.ends_with(".slice");
        if !ours || self.name == "-.slice" || check(&self.name).is_err() {
            let why = "is no unit of a container; nothing is done to it";
            return Err(Error::new(Kind::State, why).context(format!("unit {:?}", self.name)));
        }
        let whose = if self.user { "user's" } else { "system's" };
        Bus::connect(&self.address, limit)
            .with_context(|| format!("ask the {whose} service manager"))
    }

    /// Stops it, and forgets that it failed. Its processes must be dead. A unit that is gone
    /// already, which is the usual case, is fine.
    pub fn stop(&self) -> Result<()> {
        self.connect(STOP)
            .and_then(|mut bus| self.stop_on(&mut bus))
            .with_context(|| format!("stop {:?}", self.name))
    }

    fn stop_on(&self, bus: &mut Bus) -> Result<()> {
        watch_jobs(bus)?;
        let arguments = vec![Value::str(&self.name), Value::str("replace")];
        match manager(bus, "StopUnit", arguments) {
            Ok(job) => drop(wait_for_job(bus, &job)?),
            Err(Failure::Refused(error, _)) if error.ends_with(".NoSuchUnit") => {}
            Err(failure) => return Err(failure.into()),
        }
        refusal_is_fine(manager(bus, "ResetFailedUnit", vec![Value::str(&self.name)]))
    }

    /// Kills all that is in it and stops it, if it is this container's: for a create that died
    /// before it could write down that it had made it.
    pub fn abandon(&self) -> Result<()> {
        self.abandon_within(STOP).with_context(|| format!("stop {:?}", self.name))
    }

    fn abandon_within(&self, limit: Duration) -> Result<()> {
        let mut bus = self.connect(limit)?;
        match self.get(&mut bus, "org.freedesktop.systemd1.Unit", "Description") {
            Ok(Value::Str(text)) if text == self.description => {}
            // systemd gives a unit that it does not have its name as description.
            Ok(_) | Err(Failure::Refused(..)) => return Ok(()),
            Err(Failure::Broken(error)) => return Err(error),
        }
        let arguments = vec![Value::str(&self.name), Value::str("all"), Value::I32(libc::SIGKILL)];
        refusal_is_fine(manager(&mut bus, "KillUnit", arguments))?;
        self.stop_on(&mut bus)
    }

    /// Changes settings of the running unit; they are forgotten when it ends.
    pub fn set(&self, properties: &[Property]) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        let set = |bus: &mut Bus| {
            let properties = known(bus, properties)?;
            let runtime = Value::Bool(true);
            let arguments = vec![Value::str(&self.name), runtime, properties];
            Ok(manager(bus, "SetUnitProperties", arguments).map(drop)?)
        };
        self.connect(START)
            .and_then(|mut bus| set(&mut bus))
            .with_context(|| format!("set the properties of {:?}", self.name))
    }

    /// Moves process `pid` into the unit's cgroup, or into `below` of it. For a user who has no right
    /// to take a process out of the cgroup of the login session.
    pub fn attach(&self, below: &Path, pid: i32) -> Result<()> {
        let pid = u32::try_from(pid).map_err(|_| Error::new(Kind::System, "no process id"))?;
        let below = below.to_str().ok_or_else(|| Error::new(Kind::Invalid, "is not UTF-8"))?;
        let pids = Value::Array("u".to_owned(), vec![Value::U32(pid)]);
        let arguments = vec![Value::str(&self.name), Value::str(format!("/{below}")), pids];
        let attach =
            |bus: &mut Bus| Ok(manager(bus, "AttachProcessesToUnit", arguments).map(drop)?);
        self.connect(START)
            .and_then(|mut bus| attach(&mut bus))
            .with_context(|| format!("put the process into {:?}", self.name))
    }

    fn get(
        &self,
        bus: &mut Bus,
        interface: &str,
        property: &str,
    ) -> std::result::Result<Value, Failure> {
        let path = format!("{PATH}/unit/{}", escape(&self.name));
        get(bus, &path, interface, property)
    }

    /// Where its cgroup is.
    fn cgroup(&self, bus: &mut Bus) -> Result<PathBuf> {
        let kind = if self.name.ends_with(".slice") { "Slice" } else { "Scope" };
        let interface = format!("{SYSTEMD}.{kind}");
        let value = self
            .get(bus, &interface, "ControlGroup")
            .map_err(|failure| Error::from(failure).context("ask for its cgroup"))?;
        let path = Path::new(value.as_str().unwrap_or_default());
        let plain = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
        if path.is_absolute() && plain && path != Path::new("/") {
            return Ok(path.to_owned());
        }
        Err(Error::new(Kind::System, format!("systemd says that its cgroup is {path:?}")))
    }
}

fn manager(
    bus: &mut Bus,
    method: &str,
    arguments: Vec<Value>,
) -> std::result::Result<Vec<Value>, Failure> {
    bus.call(SYSTEMD, PATH, MANAGER, method, arguments)
}

fn get(
    bus: &mut Bus,
    path: &str,
    interface: &str,
    property: &str,
) -> std::result::Result<Value, Failure> {
    let arguments = vec![Value::str(interface), Value::str(property)];
    let mut answer = bus.call(SYSTEMD, path, PROPERTIES, "Get", arguments)?;
    match answer.pop() {
        Some(Value::Variant(value)) => Ok(*value),
        _ => Err(Error::new(Kind::System, format!("systemd gives no {property}")).into()),
    }
}

fn refusal_is_fine(answer: std::result::Result<Vec<Value>, Failure>) -> Result<()> {
    match answer {
        Ok(_) | Err(Failure::Refused(..)) => Ok(()),
        Err(Failure::Broken(error)) => Err(error),
    }
}

fn watch_jobs(bus: &mut Bus) -> Result<()> {
    bus.subscribe(&format!(
        "type='signal',sender='{SYSTEMD}',path='{PATH}',interface='{MANAGER}',member='JobRemoved'"
    ))
}

/// The result of the job that a method has returned.
fn wait_for_job(bus: &mut Bus, answer: &[Value]) -> Result<String> {
    let Some(job) = answer.first().and_then(Value::as_str) else {
        return Err(Error::new(Kind::System, "systemd has named no job"));
    };
    loop {
        let signal = bus.signal().context("wait for systemd's job")?;
        if signal.member != "JobRemoved" || signal.interface != MANAGER {
            continue;
        }
        if let [_, ended, _, result] = signal.body.as_slice()
            && ended.as_str() == Some(job)
        {
            return Ok(result.as_str().unwrap_or_default().to_owned());
        }
    }
}

/// Those of the properties that this systemd knows, as an argument.
fn known(bus: &mut Bus, properties: &[Property]) -> Result<Value> {
    let newest = properties.iter().map(|property| property.since).max().unwrap_or_default();
    let version = if newest > OLDEST { version(bus)? } else { OLDEST };
    let (known, unknown): (Vec<_>, Vec<_>) =
        properties.iter().partition(|property| property.since <= version);
    for property in unknown {
        if let Some(file) = property.set_back {
            log::warn(format_args!(
                "{file}: systemd {version} sets it back when it reads its own files again"
            ));
        }
    }
    let pair = |property: &Property| {
        let value = Value::Variant(Box::new(property.value.clone()));
        Value::Struct(vec![Value::str(&property.name), value])
    };
    Ok(Value::Array("(sv)".to_owned(), known.into_iter().map(pair).collect()))
}

fn version(bus: &mut Bus) -> Result<u32> {
    let value = get(bus, PATH, MANAGER, "Version")
        .map_err(|failure| Error::from(failure).context("ask for systemd's version"))?;
    let text = value.as_str().unwrap_or_default();
    parse_version(text)
        .ok_or_else(|| Error::new(Kind::System, format!("systemd's version is {text:?}")))
}

/// The number in `252.39-1~deb12u1` or `v239`.
fn parse_version(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

/// A unit's name as part of an object path (sd_bus_path_encode(3)).
fn escape(name: &str) -> String {
    let mut out = String::new();
    for (at, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
        match plain {
            true => out.push(byte as char),
            false => out.push_str(&format!("_{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        for (text, number) in [
            ("252.39-1~deb12u1", Some(252)),
            ("v239", Some(239)),
            ("257", Some(257)),
            ("v245.4-1.fc32", Some(245)),
            ("", None),
            ("devel", None),
            ("99999999999", None),
        ] {
            assert_eq!(parse_version(text), number, "{text:?}");
        }
    }

    #[test]
    fn object_paths_are_escaped() {
        assert_eq!(escape("docker-1.scope"), "docker_2d1_2escope");
        assert_eq!(escape("1a.scope"), "_31a_2escope");
        assert_eq!(escape("a\\x2bb.scope"), "a_5cx2bb_2escope");
    }

    #[test]
    fn a_stored_name_must_be_a_container_s() {
        for name in ["ssh.service", "-.slice", "x/y.scope", "", "a.scope\n"] {
            let unit = Unit {
                name: name.to_owned(),
                description: String::new(),
                user: false,
                address: Address::find(false).unwrap(),
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
            let request = Request::new("c", &names(path), false).unwrap();
            let all = request.all(7).unwrap();
            all.iter().map(|property| property.name.clone()).collect::<Vec<_>>()
        };
        let common = ["Description", "DefaultDependencies"];
        assert_eq!(all("::a.slice"), common);
        assert_eq!(all("::a"), ["Description", "Slice", "Delegate", "PIDs", "DefaultDependencies"]);
    }
}
