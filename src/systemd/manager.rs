//! The manager object of systemd: its methods, jobs and version.

use super::bus::{Bus, Failure};
use super::value::{Property, Value};
use crate::{Context, Error, Kind, Result, log};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const PATH: &str = "/org/freedesktop/systemd1";

/// The oldest supported version of systemd. The running version is queried only if a property is
/// newer.
const OLDEST: u32 = 240;

/// Calls a method of the manager.
pub fn call(bus: &mut Bus, method: &str, arguments: Vec<Value>) -> Result<Vec<Value>, Failure> {
    bus.call(SYSTEMD, PATH, MANAGER, method, arguments)
}

/// Reads a property.
pub fn get(bus: &mut Bus, path: &str, interface: &str, property: &str) -> Result<Value, Failure> {
    let arguments = vec![Value::str(interface), Value::str(property)];
    let mut answer = bus.call(SYSTEMD, path, PROPERTIES, "Get", arguments)?;
    match answer.pop() {
        Some(Value::Variant(value)) => Ok(*value),
        _ => Err(Error::new(Kind::System, format!("systemd returned no {property}")).into()),
    }
}

/// Ignores a refusal.
pub fn ignore_refusal(answer: Result<Vec<Value>, Failure>) -> Result<()> {
    match answer {
        Ok(_) | Err(Failure::Refused(..)) => Ok(()),
        Err(Failure::Broken(error)) => Err(error),
    }
}

/// Subscribes to the signal for the end of a job.
pub fn watch_jobs(bus: &mut Bus) -> Result<()> {
    bus.subscribe(&format!(
        "type='signal',sender='{SYSTEMD}',path='{PATH}',interface='{MANAGER}',member='JobRemoved'"
    ))
}

/// Waits for the job in the answer of a method. Returns its result.
pub fn wait_for_job(bus: &mut Bus, answer: &[Value]) -> Result<String> {
    let Some(job) = answer.first().and_then(Value::as_str) else {
        return Err(Error::new(Kind::System, "systemd returned no job"));
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

/// Returns the properties that this systemd supports, as an argument.
pub fn supported(bus: &mut Bus, properties: &[Property]) -> Result<Value> {
    let newest = properties.iter().map(|property| property.since).max().unwrap_or_default();
    let version = if newest > OLDEST { version(bus)? } else { OLDEST };
    let (known, unknown): (Vec<_>, Vec<_>) =
        properties.iter().partition(|property| property.since <= version);
    for property in unknown {
        if let Some(file) = property.reset_file {
            log::warn(format_args!(
                "{file}: systemd {version} resets it when it reads its own files again"
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
    let value = get(bus, PATH, MANAGER, "Version").context("ask for systemd's version")?;
    let text = value.as_str().unwrap_or_default();
    parse_version(text)
        .ok_or_else(|| Error::new(Kind::System, format!("systemd's version is {text:?}")))
}

/// Parses the number in `252.39-1~deb12u1` or `v239`.
fn parse_version(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

/// Returns the object path of a unit (sd_bus_path_encode(3)).
pub fn unit_path(name: &str) -> String {
    format!("{PATH}/unit/{}", escape(name))
}

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
}
