//! The rules of `linux.resources`.

mod devices;
mod resources;

use oci_spec::runtime::{Linux, Spec};

use super::linux;
use crate::Result;

/// How the runtime was called, as far as a rule depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Given;

/// Checks `linux.resources` for `create`.
///
/// # Errors
/// The first rule that is broken.
pub fn check(spec: &Spec) -> Result<()> {
    devices::rules(spec, &Given)?;
    check_resources(spec)
}

/// Checks `linux.resources` for `update`, but for the device rules, which it leaves alone.
///
/// # Errors
/// The first rule that is broken.
pub fn check_resources(spec: &Spec) -> Result<()> {
    resources::all(spec, &Given)
}

fn linux(spec: &Spec) -> Option<&Linux> {
    spec.linux().as_ref()
}

/// The elements of an optional list.
fn each<T>(list: &Option<Vec<T>>) -> impl Iterator<Item = (usize, &T)> {
    list.iter().flatten().enumerate()
}
