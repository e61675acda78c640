//! Ranks that an MPI launcher started: `mpirun`, `srun` and what else starts several processes.

use super::{Communicator, Failure, PATIENCE, disagrees, silent};
use crate::error::{Error, Result};
use beit_data::Shard;
use ferrompi::MpiDatatype;
use std::time::{Duration, Instant};

/// A rank of all those that the launcher started, its world. There is one value of it in a process.
///
/// Sums are added by [`sum_over_ranks`](super::sum_over_ranks) and not by MPI, whose order depends on the library.
///
/// A process that ends while it holds one waits for the others to end too. One that failed tells them by
/// [`fail`](Communicator::fail), which ends the processes of all if they do not end by themselves.
pub struct Mpi {
    world: ferrompi::Communicator,
    shard: Shard,
    patience: Duration,
    /// Whether each rank has said that it ends.
    ending: Vec<bool>,
    /// Ends MPI when it is dropped, so it comes last.
    _mpi: ferrompi::Mpi,
}

/// The tags of messages: what comes, and then that.
const ANNOUNCEMENT: i32 = 1;
const CONTENT: i32 = 2;

/// Bytes of what is told of a failure, at most.
const LONGEST_FAILURE: usize = 1000;

/// What is announced. The numbers are what travels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Numbers = 1,
    Record = 2,
    Failure = 3,
}

impl Mpi {
    /// Joins the others.
    ///
    /// # Errors
    ///
    /// [`Error::Mpi`]. What is wrong at the very start MPI may print itself, and end the process.
    pub fn start() -> Result<Self> {
        // Other threads compute, and none of them talks.
        let mpi = ferrompi::Mpi::init_thread(ferrompi::ThreadLevel::Funneled)?;
        let world = mpi.world();
        let shard = Shard { rank: world.rank() as usize, of: world.size() as usize };
        let ending = vec![false; shard.of];
        Ok(Self { world, shard, patience: PATIENCE, ending, _mpi: mpi })
    }

    /// The same, for which a rank that says nothing for so long has failed.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Ends the processes of all ranks with this exit code.
    pub fn abort(&self, code: u8) -> ! {
        self.world.abort(code.into())
    }

    /// Waits until every other rank says that it ends as well; whether all did so in time.
    fn all_end(&mut self, until: Instant) -> bool {
        let others: Vec<usize> = self.others().collect();
        loop {
            for &other in &others {
                self.ending[other] |= self.ends(other).unwrap_or(false);
            }
            let all = others.iter().all(|&other| self.ending[other]);
            if all || Instant::now() > until {
                return all;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether a rank has said that it ends. What it announced before is passed over.
    fn ends(&self, other: usize) -> Result<bool> {
        while self.world.iprobe::<u64>(other as i32, ANNOUNCEMENT)?.is_some() {
            let mut coming = [0_u64; 2];
            self.world.recv(&mut coming, other as i32, ANNOUNCEMENT)?;
            if coming[0] == Kind::Failure as u64 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn others(&self) -> impl Iterator<Item = usize> {
        let Shard { rank, of } = self.shard;
        (0..of).filter(move |&other| other != rank)
    }

    /// Says what comes next. That is so little that MPI keeps it until the other rank takes it.
    fn announce(&self, to: usize, kind: Kind, length: usize) -> Result<()> {
        Ok(self.world.send(&[kind as u64, length as u64], to as i32, ANNOUNCEMENT)?)
    }

    /// Waits until another rank says what comes next; returns its length. So a rank that never comes is found: a large message that
    /// nobody takes would wait for ever.
    fn announced(&mut self, from: usize, kind: Kind) -> Result<usize> {
        let since = Instant::now();
        while self.world.iprobe::<u64>(from as i32, ANNOUNCEMENT)?.is_none() {
            let waited = since.elapsed();
            if waited > self.patience {
                return Err(silent(self.shard, from, self.patience));
            }
            // What comes soon is worth a core; what does not may need the core itself.
            if waited > Duration::from_micros(50) {
                std::thread::yield_now();
            }
        }
        let mut coming = [0_u64; 2];
        self.world.recv(&mut coming, from as i32, ANNOUNCEMENT)?;
        let [found, length] = coming;
        if found == Kind::Failure as u64 {
            self.ending[from] = true;
            let mut failure = vec![0_u8; length as usize];
            self.world.recv(&mut failure, from as i32, CONTENT)?;
            return Err(Failure::heard(self.shard, from, &failure));
        }
        match found == kind as u64 {
            true => Ok(length as usize),
            false if kind == Kind::Numbers => {
                Err(disagrees(self.shard, from, "sent a record, expected numbers"))
            }
            false => Err(disagrees(self.shard, from, "sent numbers, expected a record")),
        }
    }

    /// Sends to one rank while it receives from one. Both are announced.
    fn swap<T: MpiDatatype>(&self, send: &[T], to: usize, receive: &mut [T], from: usize) -> Result<()> {
        self.world.sendrecv(send, to as i32, CONTENT, receive, from as i32, CONTENT)?;
        Ok(())
    }
}

impl From<ferrompi::Error> for Error {
    fn from(error: ferrompi::Error) -> Self {
        Self::Mpi(error.to_string())
    }
}

impl Communicator for Mpi {
    fn shard(&self) -> Shard {
        self.shard
    }

    fn exchange(&mut self, with: usize, send: &[f32], receive: &mut [f32]) -> Result<()> {
        self.announce(with, Kind::Numbers, send.len())?;
        let coming = self.announced(with, Kind::Numbers)?;
        if coming != receive.len() {
            let problem = format!("sent {coming} numbers, expected {}", receive.len());
            return Err(disagrees(self.shard, with, &problem));
        }
        self.swap(send, with, receive, with)
    }

    fn gather(&mut self, record: &[u8]) -> Result<Vec<Vec<u8>>> {
        let Shard { rank: own, of } = self.shard;
        let mut all = vec![Vec::new(); of];
        all[own] = record.to_vec();
        // Each sends to the next while it receives from the one before, then to the one after the next, and so on.
        for distance in 1..of {
            let (to, from) = ((own + distance) % of, (own + of - distance) % of);
            self.announce(to, Kind::Record, record.len())?;
            all[from] = vec![0; self.announced(from, Kind::Record)?];
            self.swap(record, to, &mut all[from], from)?;
        }
        Ok(all)
    }

    fn fail(&mut self, failure: &Failure) {
        // So short that MPI keeps it: nobody has to take it.
        let mut bytes = failure.to_bytes();
        bytes.truncate(LONGEST_FAILURE);
        for to in self.others() {
            let _ = self.announce(to, Kind::Failure, bytes.len());
            let _ = self.world.send(&bytes, to as i32, CONTENT);
        }
        if !self.all_end(Instant::now() + self.patience) {
            self.abort(1);
        }
    }
}
