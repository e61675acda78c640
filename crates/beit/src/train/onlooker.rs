//! Who looks at a model while it is trained, and changes nothing of it.

use super::Journal;
use crate::error::Result;
use beit_ops::Ops;
use beit_train::{Task, Trainer};

/// Looks at a model after some of its steps. All processes that train together do the same.
pub(super) trait Onlooker<O: Ops, K: Task<O>> {
    /// The first step after so many at which it looks, if there is one.
    fn next(&self, step: u64) -> Option<u64>;

    /// Looks, where it is time to.
    ///
    /// # Errors
    ///
    /// Whatever ends the run.
    fn look(&mut self, journal: &mut Journal<'_>, trainer: &Trainer<'_, O, K>) -> Result<()>;

    /// A checkpoint was saved. What goes wrong here ends no run.
    fn saved(&mut self, journal: &Journal<'_>, trainer: &Trainer<'_, O, K>);
}

/// Nobody.
impl<O: Ops, K: Task<O>> Onlooker<O, K> for () {
    fn next(&self, _: u64) -> Option<u64> {
        None
    }

    fn look(&mut self, _: &mut Journal<'_>, _: &Trainer<'_, O, K>) -> Result<()> {
        Ok(())
    }

    fn saved(&mut self, _: &Journal<'_>, _: &Trainer<'_, O, K>) {}
}
