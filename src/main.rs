//! The `bulkhead` program: parse, dispatch, exit status; nothing else.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    bulkhead::cli::main()
}
