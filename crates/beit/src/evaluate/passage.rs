//! An evaluation on its way: where it began, what is saved of it, and how processes that share it agree.

use super::EvaluationSettings;
use super::store::{State, Store, What};
use crate::error::{Error, Result};
use crate::progress::Watch;
use crate::ranks::Team;
use beit_data::Source;
use serde::Serialize;
use std::sync::Arc;

/// An evaluation on its way through the images: where it began, what was saved of it, who watches.
pub(super) struct Passage<'a, S> {
    settings: &'a EvaluationSettings,
    watch: &'a Watch,
    /// None where nothing is saved, or another process saves.
    store: Option<Store<S>>,
    start: Option<S>,
    /// Of several processes another may be the one that is to stop: what was counted last, to be saved then.
    last: Option<S>,
    shares: bool,
}

/// An evaluation that begins: what it looks at, and what is wrong with counts that cannot be of it.
pub(super) struct Begin<'a, S> {
    pub(super) what: &'a dyn Fn() -> Result<What>,
    pub(super) source: &'a Arc<dyn Source>,
    pub(super) check: &'a dyn Fn(&S) -> Result<(), String>,
}

impl<'a, S: State> Passage<'a, S> {
    /// Begins, or goes on with what is in the folder. Of several processes rank 0 alone saves; all look at the same.
    pub(super) fn begin(
        settings: &'a EvaluationSettings,
        watch: &'a Watch,
        team: &Team,
        of: &Begin<'_, S>,
    ) -> Result<Self> {
        let mut store = None;
        if settings.out.is_some() || team.shard().of > 1 {
            let what = (of.what)()?;
            team.same(&json(&what), different)?;
            store = match settings.out.as_deref().filter(|_| team.leads()) {
                Some(out) if settings.resume => Some(Store::resume(out, what, of.source, of.check)?),
                Some(out) => Some(Store::begin(out, what, of.source)?),
                None => None,
            };
        }
        let start: Option<S> = store.as_mut().and_then(|store: &mut Store<S>| store.start.take());
        let start = match team.leads() && team.shard().of == 1 {
            true => start,
            false => serde_json::from_str(&team.told(&json(&start))?).unwrap_or_default(),
        };
        if let Some(out) = settings.out.as_deref().filter(|_| !team.leads()) {
            watch.folder(out);
        }
        Ok(Self { settings, watch, store, start, last: None, shares: team.shard().of > 1 })
    }

    /// What was counted before, if it goes on; `far` says how far that is.
    pub(super) fn start(&mut self, far: impl FnOnce(&S) -> String) -> Option<S> {
        let start = self.start.take();
        if let Some(start) = &start {
            self.watch.note(&format!("resumed after {}", far(start)));
        }
        start
    }

    /// So many batches and images are done: saves what was counted now and then, and when it is to stop.
    pub(super) fn passed(&mut self, state: &S, batches: u64, images: u64) -> beit_train::Result<()> {
        self.watch.done(images);
        let stops = self.watch.stops();
        match &mut self.store {
            Some(store) if stops || batches.is_multiple_of(self.settings.save_every) => {
                store.save(state)?;
                // What was counted before must not be saved over it.
                self.last = None;
            }
            Some(_) if self.shares => self.last = Some(state.clone()),
            _ => {}
        }
        if stops { Err(beit_train::Error::Stopped) } else { Ok(()) }
    }

    /// An evaluation that somebody stopped saves what was counted, and says how it goes on.
    pub(super) fn stopped(&mut self, error: Error) -> Error {
        if let (Error::Train(beit_train::Error::Stopped), Some(store), Some(last)) =
            (&error, &mut self.store, &self.last)
            && let Err(error) = store.save(last)
        {
            return error.into();
        }
        self.settings.stopped(error)
    }

    pub(super) fn end(&mut self, state: &S) -> Result<()> {
        self.watch.end();
        match &mut self.store {
            Some(store) => Ok(store.save(state)?),
            None => Ok(()),
        }
    }
}

/// As it travels.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// How rank 0 and another look at different things.
fn different(first: &str, other: &str) -> String {
    let read = |text: &str| serde_json::from_str::<What>(text).ok();
    let difference = read(first).zip(read(other)).and_then(|(first, other)| other.difference(&first));
    difference.unwrap_or_else(|| "its settings are others".to_owned())
}

#[cfg(all(test, feature = "fashion-mnist"))]
mod tests {
    use super::*;
    use beit_data::Split;
    use beit_train::PixelCounts;

    /// Where the last state is that an evaluation by several processes comes to, which another one stops.
    fn resumed_after(pictures: u64) -> u64 {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let settings = EvaluationSettings { save_every: 2, ..EvaluationSettings::default() };
        let source = settings.data.open(Split::Test).expect("it is embedded");
        let text = || "the same".to_owned();
        let what = || What { model: text(), data: text(), preprocessing: text(), batch_size: 1 };
        let out = dir.path().join("evaluation");
        let store = Some(Store::begin(&out, what(), &source).expect("a new folder"));
        let watch = Watch::silent();
        let mut passage =
            Passage { settings: &settings, watch: &watch, store, start: None, last: None, shares: true };
        for done in 1..=pictures {
            let mut state = PixelCounts::new(2);
            state.done = done;
            passage.passed(&state, done, done).expect("nobody stops this one");
        }
        let stopped = passage.stopped(beit_train::Error::Stopped.into());
        assert!(matches!(stopped, Error::Stopped(_)), "{stopped}");
        drop(passage);
        let store = Store::resume(&out, what(), &source, |_: &PixelCounts| Ok(())).expect("it is whole");
        store.start.map_or(0, |state| state.done)
    }

    #[test]
    fn a_stop_that_another_asked_for_loses_nothing_that_was_counted() {
        assert_eq!([2, 3, 4, 5].map(resumed_after), [2, 3, 4, 5]);
    }
}
