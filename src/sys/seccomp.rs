//! seccomp(2): loading a compiled filter.
