//! Target of the fuzzers: the state file of a container.

use serde_json::Value;

use super::entry::{check, parse};
use super::record::{Intent, State};
use super::{Status, document};
use crate::fuzzing::{Input, assert_one_line, edit, reached};

/// A state of each optional field.
const STATE: &str = include_str!("../../fuzz/seeds/state/full.json");

/// A state file is read or refused; what was read is written and read again as it was.
pub fn state(data: &[u8]) {
    let text = match data.first() {
        Some(b'{') => data.to_owned(),
        _ => {
            let mut input = Input::new(data);
            let mut state: Value = serde_json::from_str(STATE).unwrap();
            while !input.is_empty() {
                edit(&mut state, &mut input);
            }
            state.to_string().into_bytes()
        }
    };
    if let Ok(intent) = parse(&text, |intent: &Intent| intent.version) {
        let written = serde_json::to_string(&intent).unwrap();
        let back = parse(written.as_bytes(), |intent: &Intent| intent.version).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), written);
    }
    let state = match parse(&text, |state: &State| state.version) {
        Ok(state) => state,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    let written = serde_json::to_string(&state).unwrap();
    let back = parse(written.as_bytes(), |state: &State| state.version).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), written);
    let id = state.id.clone();
    let state = match check(state, &id) {
        Ok(state) => state,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    reached();
    // A number that kill(2) would take for a group of processes.
    assert!(state.pid > 1);
    for status in [Status::Running, Status::Stopped] {
        let json = document(&state, status, state.pid).to_json();
        let shown = match json {
            Ok(json) => serde_json::from_slice::<Value>(&json).unwrap(),
            Err(error) => return assert_one_line(&error.to_string()),
        };
        assert_eq!(shown["id"], state.id.as_str());
        assert_eq!(shown["pid"] == 0, status == Status::Stopped);
    }
}
