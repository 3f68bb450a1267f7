//! `delete`: deletes one container, or those whose ids match an expression.

use regex_lite::Regex;

use super::args::{DeleteArgs, Global};
use super::environment;
use crate::container::delete::delete;
use crate::state::{Id, Store};
use crate::{Error, Kind, Result, text};

/// Deletes what the arguments name.
pub fn run(global: &Global, args: &DeleteArgs) -> Result<()> {
    let store = environment::store(global)?;
    match args.regex {
        true => delete_matching(&store, &expression(&args.id)?, args.force),
        false => delete(&store, &Id::new(args.id.as_str())?, args.force),
    }
}

fn expression(words: &str) -> Result<Regex> {
    Regex::new(words).map_err(|error| {
        let why = format!("invalid expression: {}", text::one_line(error.to_string()));
        Error::invalid("--regex", words, why)
    })
}

/// Deletes every container whose id matches; none is no error. A container that cannot be deleted does
/// not spare the others: the last error is returned, and earlier errors are warnings.
fn delete_matching(store: &Store, expression: &Regex, force: bool) -> Result<()> {
    let mut done = Ok(());
    for id in store.ids()?.iter().filter(|id| expression.is_match(id.as_str())) {
        match delete(store, id, force) {
            // Another command has deleted it meanwhile.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => {
                if let Err(earlier) = std::mem::replace(&mut done, Err(error)) {
                    crate::log::warn(earlier);
                }
            }
            Ok(()) => {}
        }
    }
    done
}
