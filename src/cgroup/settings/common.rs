//! Settings that are common to both versions of cgroups.

use std::fmt::{Display, Write};

use super::super::limit::DeviceNumber;
use super::super::setting::{Content, Setting};

pub fn cpu_idle(field: &'static str, idle: bool) -> Setting {
    Setting::new("cpu", field, "cpu.idle", u64::from(idle)).optional_if(!idle)
}

/// Returns the limits on page faults, and on reservations if the kernel has them (Linux 5.7).
pub fn huge_pages(field: &'static str, size: &str, bytes: u64, suffix: &str) -> Vec<Setting> {
    let used = format!("hugetlb.{size}.{suffix}");
    let reserved = format!("hugetlb.{size}.rsvd.{suffix}");
    vec![
        Setting::new("hugetlb", field, &used, bytes),
        Setting::new("hugetlb", field, &reserved, bytes).optional_if(true),
    ]
}

pub fn rdma(
    field: &'static str,
    device: &str,
    handles: Option<u32>,
    objects: Option<u32>,
) -> Setting {
    let mut line = device.to_owned();
    for (key, value) in [("hca_handle", handles), ("hca_object", objects)] {
        if let Some(value) = value {
            let _ = write!(line, " {key}={value}");
        }
    }
    Setting::new("rdma", field, "rdma.max", line)
}

/// Returns the line that sets `value` for one block device.
pub fn line(device: &DeviceNumber, value: impl Display) -> Content {
    Content::Text(format!("{}:{} {value}", device.major, device.minor))
}
