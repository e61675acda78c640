//! Ranks that an MPI launcher started: `mpirun`, `srun` and what else starts several processes.

use super::Communicator;
use crate::error::{Error, Result};
use beit_data::Shard;
use std::time::{Duration, Instant};

/// A rank of all those that the launcher started, its world. There is one value of it in a process.
///
/// Sums are added by [`sum`](super::sum) and not by MPI, whose order depends on the library.
///
/// A process that ends while it holds one waits for the others to end too. One that failed calls [`abort`](Mpi::abort) instead.
pub struct Mpi {
    world: ferrompi::Communicator,
    shard: Shard,
    patience: Duration,
    /// Ends MPI when it is dropped, so it comes last.
    _mpi: ferrompi::Mpi,
}

/// So long a rank may say nothing while another waits for it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What messages are about.
const READY: i32 = 1;
const NUMBERS: i32 = 2;
const RECORD: i32 = 3;

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
        Ok(Self { world, shard, patience: PATIENCE, _mpi: mpi })
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

    /// Waits for a message from another rank; returns its length.
    fn await_message<T: ferrompi::MpiDatatype>(&self, from: usize, about: i32) -> Result<usize> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.world.iprobe::<T>(from as i32, about)? {
                return Ok(status.count.unwrap_or_default());
            }
            let waited = since.elapsed();
            if waited > self.patience {
                let problem = format!("has said nothing for {} seconds", self.patience.as_secs_f64());
                return Err(Error::Ranks { rank: self.shard.rank, other: from, problem });
            }
            // What comes soon is worth a core; what does not may need the core itself.
            if waited > Duration::from_micros(50) {
                std::thread::yield_now();
            }
        }
    }

    /// Sends so little that MPI keeps it until somebody takes it.
    fn send_little<T: ferrompi::MpiDatatype>(&self, message: &[T], to: usize, about: i32) -> Result<()> {
        Ok(self.world.send(message, to as i32, about)?)
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

    /// A rank says first how much it sends. So one that never comes is found, which a large message that nobody takes would hide, and
    /// so are ranks that disagree about what they do.
    fn exchange(&mut self, with: usize, send: &[f32], receive: &mut [f32]) -> Result<()> {
        self.send_little(&[send.len() as u64], with, READY)?;
        self.await_message::<u64>(with, READY)?;
        let mut coming = [0_u64];
        self.world.recv(&mut coming, with as i32, READY)?;
        if coming[0] != receive.len() as u64 {
            let problem = format!("sent {} numbers, expected {}", coming[0], receive.len());
            return Err(Error::Ranks { rank: self.shard.rank, other: with, problem });
        }
        let with = with as i32;
        match (send.is_empty(), receive.is_empty()) {
            (true, true) => {}
            (false, true) => self.world.send(send, with, NUMBERS)?,
            (true, false) => drop(self.world.recv(receive, with, NUMBERS)?),
            (false, false) => drop(self.world.sendrecv(send, with, NUMBERS, receive, with, NUMBERS)?),
        }
        Ok(())
    }

    fn gather(&mut self, record: &[f64]) -> Result<Vec<Vec<f64>>> {
        let Shard { rank: own, of } = self.shard;
        for to in (0..of).filter(|&to| to != own) {
            self.send_little(record, to, RECORD)?;
        }
        let from = |rank| {
            if rank == own {
                return Ok(record.to_vec());
            }
            let mut record = vec![0.0; self.await_message::<f64>(rank, RECORD)?];
            self.world.recv(&mut record, rank as i32, RECORD)?;
            Ok(record)
        };
        (0..of).map(from).collect()
    }
}
