//! New limits for a container: what `update` is given, put into the configuration as it is kept.
//!
//! On the JSON, not on types: all of the text that is not `linux.resources` stays as it was, byte
//! for byte.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{keys, load, reparse, spelling};
use crate::{Context, Error, Kind, Result};

/// The sections of `linux.resources` whose members are known, and those members for which 0 is
/// "not set" (config-linux.md, "Control groups"). What is not set is left as it is.
const SECTIONS: &[(&str, &[&str], &[&str])] = &[
    (
        "memory",
        &["limit", "reservation", "swap", "kernel", "kernelTCP"],
        &["swappiness", "disableOOMKiller", "useHierarchy", "checkBeforeUpdate"],
    ),
    (
        "cpu",
        &["shares", "quota", "period", "realtimeRuntime", "realtimePeriod"],
        &["burst", "cpus", "mems", "idle"],
    ),
    ("pids", &[], &["limit"]),
    (
        "blockIO",
        &["weight", "leafWeight"],
        &[
            "weightDevice",
            "throttleReadBpsDevice",
            "throttleWriteBpsDevice",
            "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
        ],
    ),
    ("network", &["classID"], &["priorities"]),
];

/// The other members: lists, maps with free keys, and the device rules.
const OTHERS: &[&str] = &["devices", "hugepageLimits", "rdma", "unified"];

/// What tells the elements of a list apart.
const NAMES: &[&str] = &["major", "minor", "pageSize", "name"];

type Known<'a> = &'a dyn Fn(&str) -> bool;

/// Limits to change: a `linux.resources` object without what is not set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes(Map<String, Value>);

impl Changes {
    /// Reads a `linux.resources` object; `name` stands for the text in errors. Members that the
    /// specification does not know are ignored, as it demands (config.md, "Extensibility"), but told
    /// in `warnings`: they may be a limit with a slip of the pen. The device rules are
    /// one list, in which the order counts: they replace those that were there.
    pub fn parse(raw: &[u8], name: &str, warnings: &mut Vec<String>) -> Result<Changes> {
        Changes::read(raw, warnings).with_context(|| name.to_owned())
    }

    fn read(raw: &[u8], warnings: &mut Vec<String>) -> Result<Changes> {
        let text = load::text(raw)?;
        let text = &*spelling::correct(text, keys::RESOURCES, "linux.resources", warnings)?;
        let value: Value = serde_json::from_str(text).map_err(|e| reparse::syntax(&e))?;
        let Value::Object(mut members) = value else {
            return Err(Error::new(Kind::Invalid, "must hold a JSON object"));
        };
        let mut drop_unknown = |field: &str, members: &mut Map<String, Value>, known: Known<'_>| {
            members.retain(|name, _| {
                let field = format!("{field}.{name}: ");
                // One that resembles a known field has its warning.
                if !known(name) && !warnings.iter().any(|warning| warning.starts_with(&field)) {
                    warnings.push(format!("{field}ignored: there is no such field"));
                }
                known(name)
            });
        };
        drop_unknown("linux.resources", &mut members, &|name| {
            OTHERS.contains(&name) || SECTIONS.iter().any(|(section, ..)| *section == name)
        });
        for (section, zero, rest) in SECTIONS {
            if let Some(Value::Object(found)) = members.get_mut(*section) {
                let field = format!("linux.resources.{section}");
                drop_unknown(&field, found, &|name| zero.contains(&name) || rest.contains(&name));
            }
        }
        // The whole text in its place, so that every rule about it applies, and errors name it so.
        let spec = format!("{{\"ociVersion\":\"1.0.0\",\"linux\":{{\"resources\":{text}}}}}");
        load::parse_text(&spec, warnings)?;
        for (section, zero, _) in SECTIONS {
            if let Some(Value::Object(found)) = members.get_mut(*section) {
                found.retain(|name, value| !unset(value, zero.contains(&name.as_str())));
            }
        }
        members.retain(|_, value| match value {
            Value::Object(found) => !found.is_empty(),
            Value::Array(found) => !found.is_empty(),
            _ => false,
        });
        Ok(Changes(members))
    }

    /// The typed form.
    pub fn resources(&self) -> Result<oci_spec::runtime::LinuxResources> {
        serde_json::from_value(Value::Object(self.0.clone()))
            .map_err(|e| Error::new(Kind::Invalid, format!("linux.resources: {e}")))
    }

    /// The text of a config.json with the changes in it.
    pub fn merge_into(&self, config: &str) -> Result<String> {
        let (place, old) = place(config)?;
        let mut members = match old {
            Some(text) => serde_json::from_str(text).map_err(|e| reparse::syntax(&e))?,
            None => Map::new(),
        };
        // Without a limit on memory there is none on memory and swap together.
        let of_memory = |name| self.0.get("memory").and_then(|memory| memory.get(name));
        if of_memory("limit") == Some(&Value::from(-1))
            && of_memory("swap").is_none()
            && let Some(Value::Object(memory)) = members.get_mut("memory")
        {
            memory.remove("swap");
        }
        merge_members(&mut members, &self.0);
        let text =
            serde_json::to_string(&members).map_err(|e| Error::new(Kind::System, e.to_string()))?;
        Ok(place.splice(config, &text))
    }
}

fn unset(value: &Value, zero: bool) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.is_empty(),
        // The largest number is what a swappiness of -1, "leave it", looks like.
        Value::Number(number) => {
            (zero && number.as_u64() == Some(0)) || number.as_u64() == Some(u64::MAX)
        }
        _ => false,
    }
}

fn merge_members(old: &mut Map<String, Value>, new: &Map<String, Value>) {
    for (name, value) in new {
        match (old.get_mut(name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge_members(old, new),
            (Some(Value::Array(old)), Value::Array(new)) if name != "devices" => {
                merge_lists(old, new);
            }
            _ => {
                old.insert(name.clone(), value.clone());
            }
        }
    }
}

fn merge_lists(old: &mut Vec<Value>, new: &[Value]) {
    for entry in new {
        let same = |one: &&mut Value| NAMES.iter().all(|name| one.get(name) == entry.get(name));
        // Of two for the same thing the last one counts.
        match (old.iter_mut().rfind(same), entry) {
            (Some(Value::Object(old)), Value::Object(new)) => merge_members(old, new),
            _ => old.push(entry.clone()),
        }
    }
}

/// Where in a configuration's text the new resources go, and what stands around them.
struct Place {
    start: usize,
    end: usize,
    before: &'static str,
    after: &'static str,
}

impl Place {
    fn splice(&self, config: &str, resources: &str) -> String {
        let start = config.get(..self.start).unwrap_or_default();
        let end = config.get(self.end..).unwrap_or_default();
        [start, self.before, resources, self.after, end].concat()
    }
}

/// The place for `linux.resources`, and its text if it is there.
fn place(config: &str) -> Result<(Place, Option<&str>)> {
    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        linux: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Linux<'a> {
        #[serde(borrow)]
        resources: Option<&'a RawValue>,
    }
    let outer: Outer<'_> = serde_json::from_str(config).map_err(|e| reparse::syntax(&e))?;
    // An option takes null for nothing, and then does not tell where it was.
    let null = |text: &str, key| -> Result<Option<(usize, usize)>> {
        let members: std::collections::BTreeMap<String, &RawValue> =
            serde_json::from_str(text).map_err(|e| reparse::syntax(&e))?;
        Ok(members.get(key).map(|value| range(config, value.get())))
    };
    let Some(linux) = outer.linux.map(RawValue::get) else {
        let place = match null(config, "linux")? {
            Some((start, end)) => Place { start, end, before: "{\"resources\":", after: "}" },
            None => first_member(config, 0, "\"linux\":{\"resources\":", "}", "},"),
        };
        return Ok((place, None));
    };
    let inner: Linux<'_> = serde_json::from_str(linux).map_err(|e| reparse::syntax(&e))?;
    let (from, _) = range(config, linux);
    match inner.resources.map(RawValue::get) {
        Some(resources) => {
            let (start, end) = range(config, resources);
            Ok((Place { start, end, before: "", after: "" }, Some(resources)))
        }
        None => match null(linux, "resources")? {
            Some((start, end)) => Ok((Place { start, end, before: "", after: "" }, None)),
            None => Ok((first_member(config, from, "\"resources\":", "", ","), None)),
        },
    }
}

/// Where `part` is in `whole`, of which it is a part.
fn range(whole: &str, part: &str) -> (usize, usize) {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    (start, start.saturating_add(part.len()))
}

/// The place behind the brace of the object that begins at `from`; `more` stands behind what is put
/// there if the object has members.
fn first_member(
    config: &str,
    from: usize,
    before: &'static str,
    alone: &'static str,
    more: &'static str,
) -> Place {
    let rest = config.get(from..).unwrap_or_default();
    let start = from.saturating_add(rest.find('{').map_or(0, |at| at + 1));
    let empty = config.get(start..).unwrap_or_default().trim_start().starts_with('}');
    Place { start, end: start, before, after: if empty { alone } else { more } }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
