//! Where records go.

use crate::error::Result;
use crate::record::Record;
use std::ops::DerefMut;

/// Keeps what a run measures: a file, a dashboard, a test.
///
/// ```
/// use beit_train::{Record, Sink, StepReport};
/// let (mut losses, mut lines) = (Vec::new(), 0);
/// {
///     let mut keep = |record: &Record<'_>| {
///         losses.extend(record.step().map(|report| report.loss));
///         Ok(())
///     };
///     let mut count = |_: &Record<'_>| {
///         lines += 1;
///         Ok(())
///     };
///     let mut both: Vec<&mut dyn Sink> = vec![&mut keep, &mut count];
///     both.record(&Record::Step(&StepReport { loss: 0.5, ..StepReport::default() }))?;
/// }
/// assert_eq!((losses, lines), (vec![0.5], 1));
/// # Ok::<(), beit_train::Error>(())
/// ```
pub trait Sink {
    /// Takes a record.
    ///
    /// # Errors
    ///
    /// Whatever ends the run.
    fn record(&mut self, record: &Record<'_>) -> Result<()>;
}

impl<F: FnMut(&Record<'_>) -> Result<()>> Sink for F {
    fn record(&mut self, record: &Record<'_>) -> Result<()> {
        self(record)
    }
}

/// All of them, in order, up to the first that fails.
impl<S: DerefMut<Target: Sink>> Sink for Vec<S> {
    fn record(&mut self, record: &Record<'_>) -> Result<()> {
        self.iter_mut().try_for_each(|sink| sink.record(record))
    }
}

/// The one that is there, if one is.
impl<S: Sink> Sink for Option<S> {
    fn record(&mut self, record: &Record<'_>) -> Result<()> {
        self.as_mut().map_or(Ok(()), |sink| sink.record(record))
    }
}

/// Nobody.
impl Sink for () {
    fn record(&mut self, _: &Record<'_>) -> Result<()> {
        Ok(())
    }
}
