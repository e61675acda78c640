//! One rank of a world of NCCL, which never waits for longer than it was told.
//!
//! Calls of NCCL return at once and go on by themselves. They are asked whether they are over until their time is up; then the communicator is
//! aborted, which ends what it has on the device too.

use super::error::NcclError;
use super::library::{Comm, Config, FLOAT32, IN_PROGRESS, NcclLibrary, SUCCESS, SUM, Stream, UniqueId};
use std::ffi::c_int;
use std::ptr::{null_mut, with_exposed_provenance_mut};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Between two questions whether something is over. A sum of a small model takes some of these.
const PAUSE: Duration = Duration::from_micros(50);
/// An abort that takes longer waits for another process. It is left alone.
const ABORT: Duration = Duration::from_secs(10);

/// Which rank of a world.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    /// By [`NcclLibrary::id`].
    pub id: [u8; 128],
    /// From 0.
    pub rank: usize,
    /// How many there are.
    pub of: usize,
}

/// Numbers on the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) address: u64,
    pub(super) len: usize,
}

pub(super) struct Communicator {
    library: NcclLibrary,
    /// Null once it has ended.
    comm: Comm,
    /// An abort did not end: what was begun may still write.
    runs_on: bool,
    patience: Duration,
}

impl Communicator {
    /// The GPU whose context is current in this thread takes a seat; returns when all have.
    pub(super) fn join(library: NcclLibrary, seat: &Seat, patience: Duration) -> Result<Self, NcclError> {
        let doing = "join the other processes";
        let mut own = Self { library, comm: null_mut(), runs_on: false, patience };
        // One that is too large is refused by NCCL, as a negative one is.
        let [rank, of] = [seat.rank, seat.of].map(|number| c_int::try_from(number).unwrap_or(-1));
        let mut config = Config::without_waiting();
        // SAFETY: the configuration is read before the call returns; the communicator is written then.
        let code = unsafe {
            (library.functions.init_rank)(&raw mut own.comm, of, UniqueId(seat.id), rank, &raw mut config)
        };
        library.check(code, null_mut(), doing)?;
        own.until(doing, || Ok(true))?;
        Ok(own)
    }

    /// Every number becomes its sum over the ranks. `over` says whether the device has done all that is in the stream.
    ///
    /// # Safety
    ///
    /// The parts are numbers of the device in f32 which nothing else writes or reads until this returns, nor afterwards where it
    /// [runs on](Self::runs_on).
    pub(super) unsafe fn sum(
        &mut self,
        parts: &[Part],
        stream: Stream,
        over: impl FnMut() -> Result<bool, NcclError>,
    ) -> Result<(), NcclError> {
        let doing = "add up";
        if self.comm.is_null() {
            return Err(NcclError::Ended);
        }
        // SAFETY: the caller's.
        let done = unsafe { self.launch(parts, stream) }
            .and_then(|code| self.library.check(code, self.comm, doing))
            .and_then(|_| self.until(doing, over));
        // What is still on its way would write into memory that others get.
        done.inspect_err(|_| self.abort())
    }

    /// All parts in one group, so that they travel together.
    ///
    /// # Safety
    ///
    /// As of [`sum`](Self::sum).
    unsafe fn launch(&self, parts: &[Part], stream: Stream) -> Result<c_int, NcclError> {
        let functions = &self.library.functions;
        // SAFETY: the caller's; a group that was begun is ended.
        unsafe {
            self.library.check((functions.group_start)(), self.comm, "begin a group")?;
            let each = parts.iter().map(|part| {
                let numbers = with_exposed_provenance_mut(part.address as usize);
                (functions.all_reduce)(numbers, numbers, part.len, FLOAT32, SUM, self.comm, stream)
            });
            let failed = each.filter(|&code| code != IN_PROGRESS).find(|&code| code != SUCCESS);
            let ended = (functions.group_end)();
            Ok(failed.unwrap_or(ended))
        }
    }

    /// Waits until NCCL has done what it was asked for and `over` says so too.
    fn until(
        &self,
        doing: &'static str,
        mut over: impl FnMut() -> Result<bool, NcclError>,
    ) -> Result<(), NcclError> {
        let begun = Instant::now();
        loop {
            let mut state = IN_PROGRESS;
            // SAFETY: the communicator lives; the state is written before the call returns.
            let asked = unsafe { (self.library.functions.get_async_error)(self.comm, &raw mut state) };
            self.library.check(asked, self.comm, doing)?;
            if self.library.check(state, self.comm, doing)? && over()? {
                return Ok(());
            }
            if begun.elapsed() >= self.patience {
                return Err(NcclError::Late { doing, patience: self.patience });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends it, whatever it does. Nothing is sent to the others, who find out.
    fn abort(&mut self) {
        let comm = std::mem::replace(&mut self.comm, null_mut());
        if comm.is_null() {
            return;
        }
        let (abort, address) = (self.library.functions.abort, comm.expose_provenance());
        let (done, is_done) = channel();
        // There are versions whose abort waits for the other ranks of the machine.
        let work = move || {
            // SAFETY: nobody else has it any more.
            unsafe { abort(with_exposed_provenance_mut(address)) };
            let _ = done.send(());
        };
        let begun = std::thread::Builder::new().name("nccl".to_owned()).spawn(work).is_ok();
        self.runs_on = !begun || is_done.recv_timeout(ABORT.min(self.patience)).is_err();
    }

    /// Whether a sum that failed may still write to its parts, since it could not be aborted.
    #[cfg(feature = "nccl")]
    pub(super) const fn runs_on(&self) -> bool {
        self.runs_on
    }
}

impl Drop for Communicator {
    /// Aborts: a rank that ends in good order has nothing on its way, and one that does not must not wait.
    fn drop(&mut self) {
        self.abort();
    }
}
