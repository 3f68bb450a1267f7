//! `linux.intelRdt`: parts of caches and of memory bandwidth.

use oci_spec::runtime::LinuxIntelRdt;

use super::linux::one_line;
use crate::resctrl::{Class, Request, Schema};
use crate::{Error, Result};

/// The directories of resctrl that are no groups.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// Parses the section of the container `id` (config-linux.md, "IntelRdt"): a schema is one line, and
/// `closID` is a single file name.
pub fn parse(rdt: &LinuxIntelRdt, id: &str) -> Result<Request> {
    let closid = rdt.clos_id().as_deref().filter(|name| !name.is_empty());
    one_line("linux.intelRdt.closID", closid)?;
    let class = match closid {
        None => Class::Own,
        Some("/") => Class::Default,
        Some(name) if name.contains('/') || matches!(name, "." | "..") => {
            let why = "must be \"/\" or the name of one directory";
            return Err(Error::invalid("linux.intelRdt.closID", name, why));
        }
        Some(name) => Class::Named(name.to_owned()),
    };
    let name = closid.unwrap_or(id);
    if RESERVED.contains(&name) {
        let why = "the resctrl file system has a directory of this name that is no group";
        return Err(Error::invalid("linux.intelRdt.closID", name, why));
    }
    let (l3, bandwidth) = (rdt.l3_cache_schema().as_deref(), rdt.mem_bw_schema().as_deref());
    let mut schemata =
        schemata(("linux.intelRdt.l3CacheSchema", l3), ("linux.intelRdt.memBwSchema", bandwidth))?;
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        let field = format!("linux.intelRdt.schemata[{index}]");
        schemata.extend(schema(&field, Some(line))?);
    }
    let monitors = rdt.enable_monitoring().unwrap_or(false);
    Ok(Request { id: id.to_owned(), class, schemata, monitors })
}

/// Checks a schema of the third-level cache and of memory bandwidth, each with the name of its
/// field or option. Returns those that are set, in the order in which they are written.
pub fn schemata(l3: (&str, Option<&str>), bandwidth: (&str, Option<&str>)) -> Result<Vec<Schema>> {
    if let (field, Some(line)) = bandwidth
        && !line.is_empty()
        && !line.starts_with("MB:")
    {
        return Err(Error::invalid(field, line, "must start with \"MB:\""));
    }
    let bandwidth = schema(bandwidth.0, bandwidth.1)?;
    Ok(schema(l3.0, l3.1)?.into_iter().chain(bandwidth).collect())
}

fn schema(field: &str, line: Option<&str>) -> Result<Option<Schema>> {
    one_line(field, line)?;
    let line = line.filter(|line| !line.is_empty());
    Ok(line.map(|line| Schema { field: field.to_owned(), line: line.to_owned() }))
}
