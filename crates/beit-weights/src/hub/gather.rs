//! From the cache where it has the files, from the hub where it has not.

use super::answer::Listing;
use super::cache::Store;
use super::client::{Client, Remote};
use super::config::HubConfig;
use super::failure::Failure;
use super::id::HubId;
use super::patience::Patience;
use super::problem::HubProblem;
use super::progress::Progress;
use super::transfer::Transfer;
use super::waiting::Waits;
use super::wanted::Get;
use std::path::PathBuf;

/// Asks for files until it has what it needs.
type Want<'a> = &'a dyn Fn(Get<'_>) -> Result<(), Failure>;

/// The hub and its cache, as one.
pub(super) struct Gatherer {
    config: HubConfig,
    client: Client,
    waits: Waits,
}

impl Gatherer {
    pub(super) fn new(config: HubConfig, waits: Waits) -> Self {
        let client = Client::new(&config, waits);
        Self { config, client, waits }
    }

    /// The same with other waits.
    pub(super) fn with_waits(self, waits: Waits) -> Self {
        Self::new(self.config, waits)
    }

    /// The folder in which `want` found everything it asked for.
    pub(super) fn gather(
        &self,
        id: &HubId,
        want: Want<'_>,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, Failure> {
        let store = Store::new(&self.config.cache, id);
        if let Ok(folder) = self.cached(&store, want, Doubt::Refuse) {
            return Ok(folder);
        }
        if self.config.offline {
            return self.cached(&store, want, Doubt::Accept);
        }
        match self.insist(progress, |progress| self.client.listing(id, progress)) {
            Ok(listing) => match self.download(id, &store, &listing, want, progress) {
                // What cannot be written cannot be brought up to date, but it may be whole as it is.
                Err(failure) if failure.is_read_only() => {
                    self.cached(&store, want, Doubt::Accept).map_err(|_| failure)
                }
                fetched => fetched,
            },
            // A cache that may lack an optional file is better than none.
            Err(failure) if failure.is_unreachable() => {
                self.cached(&store, want, Doubt::Accept).map_err(|_| failure)
            }
            Err(failure) => Err(failure),
        }
    }

    fn cached(&self, store: &Store, want: Want<'_>, doubt: Doubt) -> Result<PathBuf, Failure> {
        let lacks =
            |what: &str| HubProblem::Offline { cache: self.config.cache.clone(), lacks: what.to_owned() };
        let commit = store.commit().ok_or_else(|| lacks("this model"))?;
        let found = want(&mut |name| match store.file(&commit, name) {
            None if doubt == Doubt::Refuse && !store.lacks(&commit, name) => Err(lacks(name).into()),
            file => Ok(file),
        });
        match found {
            Ok(()) => Ok(store.snapshot(&commit)),
            Err(Failure::Hub(HubProblem::NoFile { file, .. })) => Err(lacks(&file).into()),
            Err(Failure::Hub(HubProblem::NoWeights { .. })) => Err(lacks("the weights").into()),
            Err(failure) => Err(failure),
        }
    }

    /// Repeats a question while the hub is busy or the line is bad.
    fn insist<T>(
        &self,
        progress: &mut dyn Progress,
        mut ask: impl FnMut(&mut dyn Progress) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut patience = Patience::new(&self.config, self.waits);
        loop {
            match ask(progress) {
                // Nobody wants to wait for the news that there is no network.
                Err(failure) if !failure.is_unreachable() => patience.wait_after(failure, false, progress)?,
                answer => return answer,
            }
        }
    }

    fn download(
        &self,
        id: &HubId,
        store: &Store,
        listing: &Listing,
        want: Want<'_>,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, Failure> {
        let commit = &listing.commit;
        let mut wrote = false;
        let found = want(&mut |file| {
            if let Some(path) = store.file(commit, file) {
                return Ok(Some(path));
            }
            if !listing.files.iter().any(|name| name == file) {
                // A note for the next time, without which it works as well.
                let _ = store.set_lacks(commit, file);
                return Ok(None);
            }
            wrote = true;
            self.file(store, Remote { id, commit, file }, progress).map(Some)
        });
        found.map_err(|failure| failure.beside(&listing.files))?;
        match store.set_commit(commit) {
            // Where everything was there, nothing needs to be written.
            Err(error) if wrote => return Err(error.into()),
            _ => {}
        }
        Ok(store.snapshot(commit))
    }

    /// One file of the hub, unless its content is there under another name or commit.
    fn file(&self, store: &Store, at: Remote<'_>, progress: &mut dyn Progress) -> Result<PathBuf, Failure> {
        let facts = self.insist(progress, |progress| self.client.facts(at, progress))?;
        let claim = store.claim(&facts.etag, self.waits, progress)?;
        // Another process may have transferred it while this one waited.
        if !claim.blob.is_file() {
            let transfer =
                Transfer { client: &self.client, at, facts: &facts, claim: &claim, waits: self.waits };
            transfer.run(Patience::new(&self.config, self.waits), progress)?;
            claim.finish()?;
        }
        Ok(store.link(at.commit, at.file, &facts.etag)?)
    }
}

/// What to think of a file that is neither in the cache nor known not to exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// There may be one, so the hub must be asked.
    Refuse,
    /// There is none.
    Accept,
}
