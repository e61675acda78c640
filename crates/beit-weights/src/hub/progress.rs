//! How a transfer reports what it has done.

/// What a bar of progress needs to know.
///
/// For every file that is transferred: `begin`, any number of `advance`, `end`. After a broken connection `begin` comes once
/// more for the same file, with an `advance` over what is there already.
pub trait Progress {
    /// A file of this size starts, or starts anew; the size is 0 where the hub does not tell.
    fn begin(&mut self, file: &str, bytes: u64);
    /// So many bytes more are there.
    fn advance(&mut self, bytes: u64);
    /// The file is there, or was given up.
    fn end(&mut self);
    /// Others let us wait: for whom, and for how long at most.
    fn wait(&mut self, what: &str) {
        let _ = what;
    }
}

/// Reports nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&mut self, _: &str, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
}
