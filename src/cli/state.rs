//! `state`: prints the OCI state of a container, as indented JSON.

use super::args::{Global, IdArgs};
use super::environment;
use super::output::print;
use crate::{Error, Kind, Result, text};

/// Prints the state; an unknown id is an error.
pub fn run(global: &Global, args: &IdArgs) -> Result<i32> {
    let container = environment::runtime(global)?.container(&args.id)?;
    let json = container
        .with_document(|document| serde_json::to_string_pretty(document))?
        .map_err(|e| Error::new(Kind::System, e.to_string()))?;
    print((text::json(json) + "\n").as_bytes()).map(|()| 0)
}
