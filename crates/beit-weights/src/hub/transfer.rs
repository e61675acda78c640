//! One file from the hub to the disk.

use super::answer::{Digest, Facts, range};
use super::cache::Claim;
use super::client::{Client, Remote};
use super::failure::Failure;
use super::limit;
use super::patience::Patience;
use super::problem::HubProblem;
use super::progress::Progress;
use super::waiting::Waits;
use crate::error::Error;
use beit_data::open_regular;
use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
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
    pub(super) waits: Waits,
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
            patience.wait_after(failure, stale, progress)?;
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
        let response = self.client.open(self.at, start, progress)?;
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
        let pieces = pieces(response.into_body().into_reader());
        let mut got = first;
        loop {
            let what = || format!("waiting for more of {}", self.at.file);
            let piece = match self.waits.receive(&pieces, what, progress) {
                None => return self.ended(got),
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Err(self.cut(got, error)),
            };
            got += piece.len() as u64;
            self.check_length(got)?;
            file.write_all(&piece).map_err(Error::write(path))?;
            progress.advance(piece.len() as u64);
        }
    }

    /// Refuses more than was announced, and more than any file of this kind has.
    fn check_length(&self, got: u64) -> Result<(), Failure> {
        if let Some(expected) = self.facts.size.filter(|&size| got > size) {
            return self.wrong_size(got, expected);
        }
        limit::within(self.at.file, got).inspect_err(|_| drop(self.discard()))
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
        let (kind, expected, algorithm) = match self.facts.digest() {
            None => return Ok(()),
            Some(Digest::Sha256(expected)) => ("sha256", expected, &SHA256),
            // What Git names contents by; who can forge it can forge the name.
            Some(Digest::Git(expected)) => ("Git's hash", expected, &SHA1_FOR_LEGACY_USE_ONLY),
        };
        let path = &self.claim.partial;
        let header = match kind {
            "sha256" => String::new(),
            _ => format!("blob {}\0", length(path)?),
        };
        let found = hash(path, algorithm, header.as_bytes()).map_err(Error::read(path))?;
        if found == expected {
            return Ok(());
        }
        self.discard()?;
        let (file, expected) = (self.at.file.to_owned(), expected.to_owned());
        Err(HubProblem::Hash { file, kind, found, expected }.into())
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

/// The pieces of a body, read on another thread so that this one can say what takes long. A few are read ahead.
fn pieces(mut body: impl Read + Send + 'static) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(4);
    thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = match body.read(&mut piece) {
                Ok(0) => return,
                Ok(n) => {
                    piece.truncate(n);
                    Ok(piece)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let ends = read.is_err();
            // Nobody listens any more where the transfer was given up.
            if sender.send(read).is_err() || ends {
                return;
            }
        }
    });
    receiver
}

/// The hash of a header and a file, in hexadecimal digits.
fn hash(path: &Path, algorithm: &'static Algorithm, header: &[u8]) -> io::Result<String> {
    let (mut file, mut piece, mut context) =
        (open_regular(path, u64::MAX)?, vec![0; PIECE], Context::new(algorithm));
    context.update(header);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            n => context.update(&piece[..n]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
