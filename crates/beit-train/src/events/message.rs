//! The messages of TensorBoard that scalars need, by the numbers of their fields in `tensorboard/compat/proto/event.proto` and
//! `summary.proto`.

use prost::{Message, Oneof};

/// One entry of an event file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(super) wall_time: f64,
    #[prost(int64, tag = "2")]
    pub(super) step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub(super) what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum What {
    /// The first entry of a file: [`VERSION`].
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    Session(SessionLog),
}

/// From this version on, a session that starts is what takes out entries of other files.
pub(super) const VERSION: &str = "brain.Event:2";

#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Scalar {
    #[prost(string, tag = "1")]
    pub(super) tag: String,
    /// One of several kinds of value there, so that zero must be written too.
    #[prost(float, optional, tag = "2")]
    pub(super) value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionLog {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

/// A status of [`SessionLog`]: entries from its step on, in files before, are of no worth any more.
pub(super) const START: i32 = 1;
