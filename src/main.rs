//! The `bulkhead` program: parse, dispatch, exit status; nothing else.
#![no_main]

#[path = "sys/entry.rs"]
mod entry;
