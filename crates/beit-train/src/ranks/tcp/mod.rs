//! Ranks that are processes, each connected to every other by TCP: they need no MPI, on one machine or many.

mod frame;
mod meet;
mod store;

pub use meet::Meeting;

use super::{Communicator, Failure, disagrees, silent};
use crate::error::{Error, Result};
use beit_data::Shard;
use frame::Kind;
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A rank that talks to the others by TCP. Numbers travel as they are in memory, so all machines have the same order of bytes.
///
/// A rank whose process ends is noticed at once, one that hangs or whose machine is gone after a time.
pub struct Tcp {
    shard: Shard,
    /// To each rank; none to itself.
    peers: Vec<Option<TcpStream>>,
    patience: Duration,
}

/// Bytes that a connection takes in even if nobody reads yet.
const TAKEN_AT_ONCE: usize = 1 << 14;
/// So long a rank that fails waits until the others have heard why.
const FAREWELL: Duration = Duration::from_secs(2);

impl Tcp {
    /// Meets the others.
    ///
    /// # Errors
    ///
    /// [`Error::Meeting`] where they do not come, or do not belong together.
    pub fn join(meeting: &Meeting) -> Result<Self> {
        let peers = meet::all(meeting)?;
        Self { shard: meeting.shard, peers, patience: meeting.patience }.with_patience(meeting.patience)
    }

    /// The same, for which a rank that says nothing for so long has failed.
    fn with_patience(self, patience: Duration) -> Result<Self> {
        for (other, stream) in self.peers.iter().enumerate() {
            let Some(stream) = stream else { continue };
            let set = stream
                .set_nodelay(true)
                .and_then(|()| stream.set_read_timeout(Some(patience)))
                .and_then(|()| stream.set_write_timeout(Some(patience)));
            set.map_err(|error| self.blamed(other, &error))?;
        }
        Ok(Self { patience, ..self })
    }

    fn peer(&self, other: usize) -> Result<&TcpStream> {
        let none = || disagrees(self.shard, other, "is not among the ranks of this run");
        self.peers.get(other).and_then(Option::as_ref).ok_or_else(none)
    }

    /// Says that a connection failed.
    fn blamed(&self, other: usize, error: &io::Error) -> Error {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => silent(self.shard, other, self.patience),
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => disagrees(self.shard, other, "has ended"),
            ErrorKind::InvalidData => disagrees(self.shard, other, &error.to_string()),
            _ => disagrees(self.shard, other, &format!("cannot be reached: {error}")),
        }
    }

    /// Sends to one rank.
    fn send(&self, to: usize, kind: Kind, bytes: &[u8]) -> Result<()> {
        let mut stream = self.peer(to)?;
        frame::write(&mut stream, kind, bytes).map_err(|error| {
            // A rank that failed has said why before it closed.
            let _ = stream.set_read_timeout(Some(FAREWELL));
            match self.head(to) {
                Err(said @ Error::Ranks { .. }) => said,
                _ => self.blamed(to, &error),
            }
        })
    }

    /// What a rank sends next, and how long it is.
    fn head(&self, from: usize) -> Result<(Kind, usize)> {
        let mut stream = self.peer(from)?;
        let blamed = |error: io::Error| self.blamed(from, &error);
        let (kind, length) = frame::head(&mut stream).map_err(blamed)?;
        match kind {
            Kind::Failure => {
                let bytes = frame::bytes(&mut stream, length).map_err(blamed)?;
                Err(Failure::heard(self.shard, from, &bytes))
            }
            kind => Ok((kind, length)),
        }
    }

    fn receive_numbers(&self, from: usize, numbers: &mut [f32]) -> Result<()> {
        match self.head(from)? {
            (Kind::Numbers, length) if length == size_of_val(numbers) => {
                let read = self.peer(from)?.read_exact(bytemuck::cast_slice_mut(numbers));
                read.map_err(|error| self.blamed(from, &error))
            }
            (Kind::Numbers, length) => {
                let found = length / size_of::<f32>();
                let problem = format!("sent {found} numbers, expected {}", numbers.len());
                Err(disagrees(self.shard, from, &problem))
            }
            _ => Err(disagrees(self.shard, from, "sent a record, expected numbers")),
        }
    }

    fn receive_record(&self, from: usize) -> Result<Vec<u8>> {
        match self.head(from)? {
            (Kind::Record, length) => {
                frame::bytes(self.peer(from)?, length).map_err(|error| self.blamed(from, &error))
            }
            _ => Err(disagrees(self.shard, from, "sent numbers, expected a record")),
        }
    }

    fn others(&self) -> impl Iterator<Item = usize> {
        let Shard { rank, of } = self.shard;
        (0..of).filter(move |&other| other != rank)
    }
}

/// Sends while it receives: two ranks that wait until the other reads would wait for ever. What a connection takes in at once needs no
/// thread of its own.
fn both<T>(
    length: usize,
    send: impl FnOnce() -> Result<()> + Send,
    receive: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if length <= TAKEN_AT_ONCE {
        send()?;
        return receive();
    }
    std::thread::scope(|scope| {
        let sending = scope.spawn(send);
        // The reason that another rank gives for its end is heard here.
        let received = receive()?;
        sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(received)
    })
}

impl Communicator for Tcp {
    fn shard(&self) -> Shard {
        self.shard
    }

    fn exchange(&mut self, with: usize, send: &[f32], receive: &mut [f32]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(send);
        let sending = || if send.is_empty() { Ok(()) } else { self.send(with, Kind::Numbers, bytes) };
        both(bytes.len(), sending, || match receive.is_empty() {
            true => Ok(()),
            false => self.receive_numbers(with, receive),
        })
    }

    fn gather(&mut self, record: &[u8]) -> Result<Vec<Vec<u8>>> {
        let own = self.shard.rank;
        let sending = || self.others().try_for_each(|to| self.send(to, Kind::Record, record));
        both(record.len(), sending, || {
            let from = |rank| if rank == own { Ok(record.to_vec()) } else { self.receive_record(rank) };
            (0..self.shard.of).map(from).collect()
        })
    }

    fn fail(&mut self, failure: &Failure) {
        let (bytes, until) = (failure.to_bytes(), Instant::now() + FAREWELL);
        for mut stream in self.peers.iter().flatten() {
            let _ = stream.set_write_timeout(Some(FAREWELL / 4));
            let _ = frame::write(&mut stream, Kind::Failure, &bytes);
            let _ = stream.shutdown(Shutdown::Write);
        }
        // What is closed before the other has read may be lost.
        let mut unread = [0; TAKEN_AT_ONCE];
        for mut stream in self.peers.iter().flatten() {
            loop {
                let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                let _ = stream.set_read_timeout(Some(left));
                if !matches!(stream.read(&mut unread), Ok(1..)) {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
