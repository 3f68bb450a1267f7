//! The `bulkhead` program: parse, dispatch, exit status; nothing else.
#![forbid(unsafe_code)]

fn main() {}
