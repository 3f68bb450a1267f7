//! `list`: lists the containers of the state directory.

use serde_json::value::to_raw_value;

use super::args::{Global, ListArgs, ListFormat};
use super::environment;
use super::output::{print, print_json};
use crate::state::{Document, Entry};
use crate::{Error, Kind, Result, text};

/// Prints the list.
pub fn run(global: &Global, args: &ListArgs) -> Result<()> {
    let store = environment::store(global)?;
    let containers = store.list()?;
    if args.quiet {
        let ids = containers.map(|container| format!("{}\n", container.id()));
        return print(ids.collect::<String>().as_bytes());
    }
    match args.format {
        ListFormat::Table => print(table(all(containers, |document| Ok(row(document)))).as_bytes()),
        ListFormat::Json => print_json(&all(containers, |document| {
            to_raw_value(document).map_err(|e| Error::new(Kind::System, e.to_string()))
        })),
    }
}

/// Formats the state of each container. A container that fails is left out with a warning, and must
/// not hide the others.
fn all<T>(
    containers: impl Iterator<Item = Entry>,
    format: impl Fn(&Document<'_>) -> Result<T>,
) -> Vec<T> {
    let formatted = |container: Entry| {
        let warn = |e: &Error| {
            let id = container.id().as_str();
            crate::log::warn(format_args!("container {id:?} is left out: {e}"));
        };
        let document = container.document();
        document.and_then(|document| format(&document)).inspect_err(warn).ok()
    };
    containers.filter_map(formatted).collect()
}

type Row = [String; HEADER.len()];

fn row(document: &Document<'_>) -> Row {
    [
        document.id.to_string(),
        document.pid.to_string(),
        document.status.to_string(),
        // A bundle's path may contain a line feed, but a row is a line.
        text::one_line(document.bundle.to_string_lossy().into_owned()),
        document.created.clone(),
        text::one_line(document.owner.clone()),
    ]
}

const HEADER: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

/// Formats a table. Columns are as wide as their widest cell plus three spaces, but at least twelve
/// characters: the layout of runc, which scripts parse.
fn table(mut rows: Vec<Row>) -> String {
    rows.insert(0, HEADER.map(str::to_owned));
    let mut widths = [0; HEADER.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().saturating_add(3)).max(12);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line += &format!("{cell:<width$}");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::state::{Id, Status};

    #[test]
    fn empty_table_is_the_header() {
        assert_eq!(
            table(Vec::new()),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
    }

    #[test]
    fn columns_grow_with_their_cells() {
        let id = Id::new("a-rather-long-name").unwrap();
        let document = Document {
            oci_version: "1.3.0",
            id: &id,
            pid: 1234,
            status: Status::Running,
            bundle: Path::new("/b\nc"),
            rootfs: None,
            created: "2023-11-14T22:13:20.000000005Z".to_owned(),
            annotations: None,
            owner: "root".to_owned(),
        };
        assert_eq!(
            table(vec![row(&document)]),
            "ID                   PID         STATUS      BUNDLE      CREATED                          OWNER\n\
             a-rather-long-name   1234        running     /b c        2023-11-14T22:13:20.000000005Z   root\n"
        );
    }
}
