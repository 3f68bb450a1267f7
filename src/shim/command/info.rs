//! `-info`: describes the shim to containerd 2.

use std::collections::BTreeMap;
use std::io::{Read, Result, Write};

use prost::Message;

use crate::proto::any::Any;

/// `containerd.types.RuntimeInfo` (api/types/introspection.proto).
#[derive(Clone, PartialEq, Message)]
struct RuntimeInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    version: Option<RuntimeVersion>,
    /// Those of the request.
    #[prost(message, optional, tag = "3")]
    options: Option<Any>,
    /// OCI's features, as JSON.
    #[prost(message, optional, tag = "4")]
    features: Option<Any>,
    #[prost(btree_map = "string, string", tag = "5")]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeVersion {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    revision: String,
}

const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// Reads the options from standard input, and prints the description.
pub fn run() -> Result<()> {
    let mut stdin = Vec::new();
    std::io::stdin().take(4 << 20).read_to_end(&mut stdin)?;
    let options = Any::decode(stdin.as_slice()).ok().filter(|any| !any.type_url.is_empty());
    let info = RuntimeInfo {
        name: crate::RUNTIME.to_owned(),
        version: Some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: option_env!("BULKHEAD_COMMIT").unwrap_or_default().to_owned(),
        }),
        options,
        features: Some(Any { type_url: FEATURES.to_owned(), value: bulkhead::features().into() }),
        annotations: BTreeMap::new(),
    };
    std::io::stdout().write_all(&info.encode_to_vec())
}
