//! What one pass over images finds, by several ranks that take turns.

use super::{Communicator, disagrees};
use crate::error::{Error, Result};
use beit_data::{Batch, Loader, Sample, Shard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Range;

/// Looks at every batch of a range once, each in one of the ranks, and tells all ranks what was found, in the order of the batches: what
/// they add up has the same bits for any number of ranks. Batches without an image that can be decoded are passed over.
///
/// `find` looks at a batch; `each` gets its number and what was found.
///
/// # Errors
///
/// The data, the communicator, and those of `find` and `each`; where `each` of one rank ends with [`Error::Stopped`], that of all.
pub fn share_batches<S: Sample, F: Serialize + DeserializeOwned, E: From<Error>>(
    ranks: &mut dyn Communicator,
    loader: &Loader<S>,
    range: Range<u64>,
    mut find: impl FnMut(&Batch<S>) -> std::result::Result<F, E>,
    mut each: impl FnMut(u64, F) -> Result<()>,
) -> std::result::Result<(), E> {
    let own = ranks.shard();
    let mut batches = loader.turns(range.clone(), own).map_err(Error::from)?;
    let mut next = || batches.next().transpose().map_err(Error::from);
    if own.of == 1 {
        while let Some(batch) = next()? {
            each(batch.number, find(&batch)?)?;
        }
        return Ok(());
    }
    let (mut coming, mut stops) = (next()?, false);
    for first in range.clone().step_by(own.of) {
        let number = first + own.rank as u64;
        let mut found = None;
        if let Some(batch) = coming.take_if(|batch| !stops && batch.number == number) {
            found = Some(find(&batch)?);
            coming = next()?;
        }
        // A rank that is to stop takes part once more, so that all stop at the same batch.
        let records = ranks.gather(&written(&(stops, found)))?;
        let records: Vec<(bool, Option<F>)> =
            (0..).zip(records).map(|(rank, record)| read(own, rank, &record)).collect::<Result<_>>()?;
        if records.iter().any(|(stops, _)| *stops) {
            return Err(Error::Stopped.into());
        }
        for (number, (_, found)) in (first..).zip(records) {
            let Some(found) = found else { continue };
            match each(number, found) {
                Err(Error::Stopped) => stops = true,
                done => done?,
            }
        }
    }
    // What was said of the last batches.
    let any = ranks.gather(&written(&stops))?.iter().any(|said| read(own, own.rank, said).unwrap_or(false));
    if any { Err(Error::Stopped.into()) } else { Ok(()) }
}

/// Counts and sums as JSON, which keeps every bit.
fn written(found: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(found).unwrap_or_default()
}

fn read<F: DeserializeOwned>(own: Shard, rank: usize, record: &[u8]) -> Result<F> {
    let other =
        |_| disagrees(own, rank, "counts something else; expected the same task with the same settings");
    serde_json::from_slice(record).map_err(other)
}
