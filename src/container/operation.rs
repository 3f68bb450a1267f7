//! The operations that a worker runs.

use super::create_options::CreateOptions;
use super::criu_options::{CheckpointOptions, RestoreOptions};
use super::descriptors::Descriptors;
use super::exec_options::ExecOptions;
use super::signal::Signal;
use super::worker::Verb;
use crate::Result;

/// An operation for [`Runtime::begin`](super::Runtime::begin). Each has a method of
/// [`Runtime`](super::Runtime) or [`Container`](super::Container), which waits for the result and
/// documents the errors.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// [`Runtime::create`](super::Runtime::create)
    Create(&'a CreateOptions),
    /// [`Runtime::restore`](super::Runtime::restore)
    Restore(&'a RestoreOptions),
    /// [`Container::start`](super::Container::start)
    Start,
    /// [`Container::exec`](super::Container::exec)
    Exec(&'a ExecOptions),
    /// [`Container::kill`](super::Container::kill)
    Kill(Signal),
    /// [`Container::kill_all`](super::Container::kill_all)
    KillAll(Signal),
    /// [`Container::pause`](super::Container::pause)
    Pause,
    /// [`Container::resume`](super::Container::resume)
    Resume,
    /// [`Container::update`](super::Container::update), with the JSON of the limits
    Update(&'a str),
    /// [`Container::checkpoint`](super::Container::checkpoint)
    Checkpoint(&'a CheckpointOptions),
    /// [`Container::delete`](super::Container::delete)
    Delete,
    /// [`Container::delete_by_force`](super::Container::delete_by_force)
    DeleteByForce,
}

impl Operation<'_> {
    /// Returns the request to a worker, and the descriptors that it needs.
    pub(super) fn verb(self) -> Result<(Verb, Descriptors)> {
        let none = Descriptors::default;
        Ok(match self {
            Operation::Create(options) => {
                (Verb::Create(Box::new(options.absolute()?)), options.descriptors.clone())
            }
            Operation::Restore(options) => {
                (Verb::Restore(Box::new(options.absolute()?)), options.create.descriptors.clone())
            }
            Operation::Start => (Verb::Start, none()),
            Operation::Exec(options) => {
                (Verb::Exec(Box::new(options.absolute()?)), options.descriptors.clone())
            }
            Operation::Kill(signal) => (Verb::Kill { signal: signal.number(), all: false }, none()),
            Operation::KillAll(signal) => {
                (Verb::Kill { signal: signal.number(), all: true }, none())
            }
            Operation::Pause => (Verb::Pause, none()),
            Operation::Resume => (Verb::Resume, none()),
            Operation::Update(resources) => {
                (Verb::Update { resources: resources.to_owned() }, none())
            }
            Operation::Checkpoint(options) => {
                (Verb::Checkpoint(Box::new(options.absolute()?)), none())
            }
            Operation::Delete => (Verb::Delete { force: false }, none()),
            Operation::DeleteByForce => (Verb::Delete { force: true }, none()),
        })
    }
}
