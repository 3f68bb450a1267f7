//! `google.protobuf.Any` and `google.protobuf.Timestamp`.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::{Message, Name};

/// A message of any type, with a URL that names it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

impl Any {
    /// Packs a message. containerd's URLs are the plain name of the message.
    pub fn pack<M: Message + Name>(message: &M) -> Any {
        Any { type_url: M::full_name(), value: message.encode_to_vec() }
    }

    /// Whether the type is `name`, with or without a host in front.
    pub fn is(&self, name: &str) -> bool {
        let bare = |url: &str| url == name;
        bare(&self.type_url) || self.type_url.rsplit_once('/').is_some_and(|(_, last)| bare(last))
    }
}

/// A point in time since the epoch.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
        }
    }
}

/// Gives messages their name, for [`Any::pack`].
macro_rules! named {
    ($package:literal: $($message:ident),* $(,)?) => {
        $(impl prost::Name for $message {
            const PACKAGE: &'static str = $package;
            const NAME: &'static str = stringify!($message);
        })*
    };
}
pub(crate) use named;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::events::TaskOom;

    #[test]
    fn a_packed_message_has_the_plain_name_as_its_url() {
        let any = Any::pack(&TaskOom { container_id: "c".into() });
        assert_eq!(any.type_url, "containerd.events.TaskOOM");
        assert_eq!(any.value, [10, 1, b'c']);
        assert!(any.is("containerd.events.TaskOOM"));
        let hosted = Any { type_url: "type.googleapis.com/a.B".into(), value: Vec::new() };
        assert!(hosted.is("a.B") && !hosted.is("B") && !hosted.is("a.BC"));
    }

    #[test]
    fn a_time_is_split() {
        let time = UNIX_EPOCH + std::time::Duration::from_nanos(1_500_000_001);
        assert_eq!(Timestamp::from(time), Timestamp { seconds: 1, nanos: 500_000_001 });
    }
}
