//! Mounts as descriptors: detached trees are cloned or made, given their attributes, and attached.
//! The runtime opens and stages the sources here; init attaches them.

pub(crate) mod closing;
pub(crate) mod devices;
pub(crate) mod filesystem;
pub(crate) mod options;
pub(crate) mod sources;
pub(crate) mod table;
pub(crate) mod tree;
pub(crate) mod trees;
