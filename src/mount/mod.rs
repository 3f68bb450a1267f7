//! Detached mount trees: cloned, given their attributes, and staged for init.

mod locked;
pub mod nodes;
pub mod prepare;
pub mod stage;
