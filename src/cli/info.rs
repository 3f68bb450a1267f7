//! `info`: what this host gives containers, and what the lack of a feature costs. Each fact is asked of
//! the kernel by a request that changes nothing.

mod probe;

use std::path::Path;

use serde::Serialize;

use self::probe::{Cgroups, Feature, feature};
use super::args::LogFormat;
use super::checkpoint;
use super::output::{print, print_pretty_json};
use crate::host::{self, Host};
use crate::{Result, audit, text};

/// Prints the facts.
pub fn run(format: LogFormat) -> Result<()> {
    let info = Info::probe()?;
    match format {
        LogFormat::Json => print_pretty_json(&info),
        LogFormat::Text => print(info.text().as_bytes()),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    version: &'static str,
    kernel: String,
    machine: String,
    uid: u32,
    in_user_namespace: bool,
    cgroups: &'static str,
    controllers: Vec<String>,
    drivers: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lsms: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    criu: Option<String>,
    features: Vec<Feature>,
}

impl Info {
    fn probe() -> Result<Info> {
        let host = Host::probe()?;
        let system = rustix::system::uname();
        let cgroups = Cgroups::probe();
        let has_systemd = Path::new("/run/systemd/system").is_dir();
        let criu = checkpoint::program("criu").ok();
        let has_criu = criu.is_some();
        let mut drivers = if cgroups.form == "none" { vec![] } else { vec!["cgroupfs"] };
        drivers.extend(has_systemd.then_some("systemd"));
        let mut features = probe::kernel_features();
        features.extend(cgroups.features());
        features.extend([
            feature("systemd", has_systemd, "--systemd-cgroup is an error"),
            feature("AppArmor", host::has_apparmor()?, "AppArmor profiles are an error"),
            feature("SELinux", host::has_selinux()?, "SELinux labels are an error"),
            feature("CRIU", has_criu, "checkpoint and restore are errors (package criu)"),
            feature(
                "newuidmap",
                ["newuidmap", "newgidmap"]
                    .into_iter()
                    .all(|name| checkpoint::program(name).is_ok()),
                "without root, a container has one user id (package uidmap)",
            ),
        ]);
        Ok(Info {
            version: env!("CARGO_PKG_VERSION"),
            kernel: system.release().to_string_lossy().into_owned(),
            machine: system.machine().to_string_lossy().into_owned(),
            uid: host.uid,
            in_user_namespace: host.in_user_namespace,
            cgroups: cgroups.form,
            controllers: cgroups.controllers,
            drivers,
            lsms: probe::lsms(),
            criu: criu.map(|path| text::one_line(path.to_string_lossy().into_owned())),
            features,
        })
    }

    fn text(&self) -> String {
        let or_none = |list: String| if list.is_empty() { "none".to_owned() } else { list };
        let names = |present: bool| {
            let features = self.features.iter().filter(move |feature| feature.present == present);
            features.map(|feature| feature.name).collect::<Vec<_>>().join(", ")
        };
        let unknown = "unknown: mount securityfs to see them".to_owned();
        let namespace = if self.in_user_namespace { " of a user namespace" } else { "" };
        let rows = [
            ("version", self.version.to_owned()),
            ("kernel", format!("{} {}", self.kernel, self.machine)),
            ("user", format!("{}{namespace}", self.uid)),
            ("cgroups", self.cgroups.to_owned()),
            ("controllers", or_none(self.controllers.join(" "))),
            ("drivers", or_none(self.drivers.join(" "))),
            ("LSMs", self.lsms.as_ref().map_or(unknown, |lsms| or_none(lsms.join(" ")))),
            ("CRIU", or_none(self.criu.clone().unwrap_or_default())),
            ("present", or_none(names(true))),
            ("missing", or_none(names(false))),
        ];
        let mut out = String::new();
        for (name, value) in rows {
            audit::wrap(&mut out, &format!("{name:<13}"), &value);
        }
        for Feature { name, cost, .. } in self.features.iter().filter(|feature| !feature.present) {
            audit::wrap(&mut out, &format!("  without {name}: "), cost);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_a_cost() {
        let mut info = Info::probe().unwrap();
        assert!(info.features.iter().all(|feature| !feature.cost.is_empty()));
        info.features = vec![feature("a", true, "x"), feature("b", false, "b is slow")];
        let text = info.text();
        assert!(
            text.contains("\npresent      a\nmissing      b\n  without b: b is slow\n"),
            "{text}"
        );
        let json = serde_json::to_value(&info).unwrap();
        assert_eq!(json["features"][0], serde_json::json!({"name": "a", "present": true}));
        assert_eq!(json["features"][1]["cost"], "b is slow");
    }
    #[test]
    fn the_page_describes_every_key_and_feature() {
        let page = include_str!("../../docs/info.md");
        let info = Info::probe().unwrap();
        let json = serde_json::to_value(&info).unwrap();
        for key in json.as_object().unwrap().keys() {
            assert!(page.contains(&format!("| `{key}` |")), "{key}");
        }
        let table = page.split_once("| feature | cost of its lack |\n|---|---|\n").unwrap().1;
        let rows: Vec<&str> = table.lines().collect();
        let wanted: Vec<String> =
            info.features.iter().map(|f| format!("| {} | {} |", f.name, f.cost)).collect();
        assert_eq!(rows, wanted);
    }

    #[test]
    fn lines_have_80_columns_and_an_unknown_list_is_not_an_empty_one() {
        let mut info = Info::probe().unwrap();
        info.controllers = (0..40).map(|number| format!("controller{number}")).collect();
        info.lsms = None;
        info.features.iter_mut().for_each(|feature| feature.present = false);
        let text = info.text();
        let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert_eq!(long, [""; 0]);
        assert!(text.contains("\nLSMs         unknown: "), "{text}");
        assert!(!serde_json::to_string(&info).unwrap().contains("lsms"));
        info.lsms = Some(Vec::new());
        assert!(info.text().contains("\nLSMs         none\n"), "{text}");
    }
}
