//! One file from the hub to the disk.

use super::answer::{Facts, range};
use super::cache::Claim;
use super::client::{Client, Remote};
use super::failure::Failure;
use super::patience::Patience;
use super::problem::HubProblem;
use super::progress::Progress;
use crate::error::Error;
use beit_data::open_regular;
use ring::digest::{Context, SHA256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use ureq::Body;
use ureq::http::Response;

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;
/// Bytes between two breaks that show that the line is worth waiting for.
const WORTHWHILE: u64 = 1 << 20;

/// What a transfer needs to know.
pub(super) struct Transfer<'a> {
    pub(super) client: &'a Client,
    pub(super) at: Remote<'a>,
    pub(super) facts: &'a Facts,
    pub(super) claim: &'a Claim,
}

impl Transfer<'_> {
    /// Completes the partial file, or says why not. What is kept can be continued; what cannot be is removed.
    pub(super) fn run(&self, patience: Patience, progress: &mut dyn Progress) -> Result<(), Failure> {
        let done = self.insist(patience, progress);
        progress.end();
        done
    }

    fn insist(&self, mut patience: Patience, progress: &mut dyn Progress) -> Result<(), Failure> {
        loop {
            let start = self.start()?;
            let failure = match self.attempt(start, progress).and_then(|()| self.verify()) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            // Bytes of an earlier attempt may be to blame; these are gone now.
            let stale = start > 0 && is_wrong(&failure);
            if length(&self.claim.partial)? >= start.saturating_add(WORTHWHILE) {
                patience.renew();
            }
            patience.wait_after(failure, stale)?;
        }
    }

    /// The first byte that is not there yet.
    fn start(&self) -> Result<u64, Failure> {
        let there = length(&self.claim.partial)?;
        if self.facts.size.is_none_or(|size| there <= size) {
            return Ok(there);
        }
        self.discard()?;
        Ok(0)
    }

    /// Receives from a byte on, as far as the connection goes.
    fn attempt(&self, start: u64, progress: &mut dyn Progress) -> Result<(), Failure> {
        progress.begin(self.at.file, self.facts.size.unwrap_or(0));
        progress.advance(start);
        if start > 0 && self.facts.size == Some(start) {
            return Ok(());
        }
        let response = self.client.open(self.at, start)?;
        let (first, whole) = self.extent(&response);
        if let (Some(found), Some(expected)) = (whole, self.facts.size)
            && found != expected
        {
            return self.wrong_size(found, expected);
        }
        if first != start {
            progress.begin(self.at.file, self.facts.size.unwrap_or(0));
        }
        self.receive(response, first, progress)
    }

    /// Which byte an answer starts with, and the size of the file according to it. Answers that do not continue the file replace it.
    fn extent(&self, response: &Response<Body>) -> (u64, Option<u64>) {
        match range(response) {
            Some(range) if response.status() == 206 => range,
            _ => (0, response.body().content_length()),
        }
    }

    fn receive(
        &self,
        response: Response<Body>,
        first: u64,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        let path = &self.claim.partial;
        let mut file = open_at(path, first).map_err(Error::write(path))?;
        let mut body = response.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        let mut got = first;
        loop {
            let n = match body.read(&mut piece) {
                Ok(0) => return self.ended(got),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.cut(got, error)),
            };
            got += n as u64;
            if let Some(expected) = self.facts.size.filter(|&size| got > size) {
                return self.wrong_size(got, expected);
            }
            file.write_all(&piece[..n]).map_err(Error::write(path))?;
            progress.advance(n as u64);
        }
    }

    /// The other side closed the connection without a word. Had it told a length, that would have been compared.
    fn ended(&self, got: u64) -> Result<(), Failure> {
        match self.facts.size {
            Some(size) if got < size => Err(self.cut(got, io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    fn cut(&self, got: u64, source: io::Error) -> Failure {
        let (file, expected, source) = (self.at.file.to_owned(), self.facts.size, Box::new(source));
        HubProblem::Cut { file, got, expected, source }.into()
    }

    fn wrong_size(&self, found: u64, expected: u64) -> Result<(), Failure> {
        self.discard()?;
        Err(HubProblem::Size { file: self.at.file.to_owned(), found, expected }.into())
    }

    fn verify(&self) -> Result<(), Failure> {
        let Some(expected) = self.facts.sha256.clone() else { return Ok(()) };
        let found = sha256(&self.claim.partial).map_err(Error::read(&self.claim.partial))?;
        if found == expected {
            return Ok(());
        }
        self.discard()?;
        Err(HubProblem::Hash { file: self.at.file.to_owned(), found, expected }.into())
    }

    fn discard(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.claim.partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::write(&self.claim.partial)(error).into())
            }
            _ => Ok(()),
        }
    }
}

fn is_wrong(failure: &Failure) -> bool {
    matches!(failure, Failure::Hub(HubProblem::Size { .. } | HubProblem::Hash { .. }))
}

fn length(path: &Path) -> Result<u64, Failure> {
    match fs::metadata(path) {
        Ok(data) => Ok(data.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::read(path)(error).into()),
    }
}

/// The file to write from a byte on; what was behind it goes.
fn open_at(path: &Path, first: u64) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(path)?;
    file.set_len(first)?;
    Ok(file)
}

fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut piece, mut context) =
        (open_regular(path, u64::MAX)?, vec![0; PIECE], Context::new(&SHA256));
    loop {
        match file.read(&mut piece)? {
            0 => break,
            n => context.update(&piece[..n]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
