//! What a verb that trains answers before it does.

use beit::{PlannedRun, Predicted, Survey};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct DryRun<'a> {
    #[serde(flatten)]
    pub(crate) plan: &'a PlannedRun,
    /// Of the run, with one process here.
    pub(crate) seconds: Option<f64>,
    pub(crate) data: &'a Survey,
    /// With more and more processes, where that is asked for.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) predicted: &'a [Predicted],
}
