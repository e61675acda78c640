//! Ranks that this program starts itself, on this machine.

use super::cores::on_a_part;
use super::launch::OWN;
use crate::error::{Error, Result, setting};
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at the processes.
const PAUSE: Duration = Duration::from_millis(20);
/// More processes than any machine has cores for.
const MOST: usize = 1024;

/// Processes of this program that train together. When it is dropped, those that are left are killed. Where the system can do that, they are
/// asked to end when this process ends in any other way.
pub struct LocalRanks {
    processes: Vec<Process>,
}

struct Process {
    child: Child,
    /// The exit code, once it has ended; 128 and the number of a signal.
    ended: Option<u8>,
}

impl LocalRanks {
    /// Starts so many processes of this program with these arguments. They share the cores, the first of them has this one's standard
    /// output, and what they say on standard error stays visible.
    ///
    /// # Errors
    ///
    /// A number that is none, or a system that starts no more.
    pub fn start(ranks: usize, args: impl Iterator<Item = OsString>) -> Result<Self> {
        if !(1..=MOST).contains(&ranks) {
            setting!("--ranks {ranks}: expected 1 to {MOST}");
        }
        let program = std::env::current_exe().map_err(failed)?;
        // Free now; should another program take it before rank 0 does, rank 0 says so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(failed)?
            .port();
        let args: Vec<OsString> = args.collect();
        let mut started = Self { processes: Vec::new() };
        for rank in 0..ranks {
            let mut command = Command::new(&program);
            command.args(&args).stdin(Stdio::null()).env(OWN, std::process::id().to_string());
            for (name, value) in
                [("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", ranks), ("LOCAL_WORLD_SIZE", ranks)]
            {
                command.env(name, value.to_string());
            }
            command.env("MASTER_ADDR", Ipv4Addr::LOCALHOST.to_string()).env("MASTER_PORT", port.to_string());
            command.env_remove("TORCHELASTIC_USE_AGENT_STORE");
            if rank > 0 {
                command.stdout(Stdio::null());
            }
            apart(&mut command);
            let child = on_a_part(rank, ranks, || command.spawn()).map_err(failed)?;
            started.processes.push(Process { child, ended: None });
        }
        Ok(started)
    }

    /// Waits until all have ended; returns who failed, if one did, and the exit code: rank 0's where it has one, since it speaks for all, else
    /// that of the first. The others may take so long to end after the first has failed; then they are killed. Where `stops` returns a signal, it
    /// is passed on once, and the processes end as they do with it.
    ///
    /// # Errors
    ///
    /// The system, where it does not say how a process ended.
    pub fn wait(mut self, grace: Duration, stops: impl Fn() -> Option<u8>) -> Result<Option<(usize, u8)>> {
        let (mut first, mut passed, mut until) = (None, false, None::<Instant>);
        while self.processes.iter().any(|process| process.ended.is_none()) {
            let left = self.processes.iter_mut().enumerate().filter(|(_, process)| process.ended.is_none());
            for (rank, process) in left {
                process.ended = process.child.try_wait().map_err(failed)?.map(code);
                if let Some(code @ 1..) = process.ended {
                    first.get_or_insert((rank, code));
                    until.get_or_insert_with(|| Instant::now() + grace);
                }
            }
            if let (Some(signal), false) = (stops(), passed) {
                passed = true;
                self.signal(signal);
            }
            if until.is_some_and(|until| Instant::now() > until) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        let own = self.processes.first().and_then(|process| process.ended).filter(|&code| code > 0);
        let killed = first.is_some_and(|(_, code)| code > 128);
        Ok(if killed { first } else { own.map(|code| (0, code)).or(first) })
    }

    #[cfg(unix)]
    fn signal(&self, signal: u8) {
        use rustix::process::{Pid, Signal, kill_process};
        for process in self.processes.iter().filter(|process| process.ended.is_none()) {
            let id = i32::try_from(process.child.id()).ok().and_then(Pid::from_raw);
            let signal = Signal::from_named_raw(signal.into());
            if let (Some(id), Some(signal)) = (id, signal) {
                let _ = kill_process(id, signal);
            }
        }
    }

    #[cfg(not(unix))]
    fn signal(&mut self, _: u8) {
        for process in &mut self.processes {
            let _ = process.child.kill();
        }
    }
}

impl Drop for LocalRanks {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().filter(|process| process.ended.is_none()) {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// Signals of the terminal come to this process alone, which passes them on: each then has one.
#[cfg(unix)]
fn apart(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(not(unix))]
fn apart(_: &mut Command) {}

#[cfg(unix)]
fn code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(not(unix))]
fn code(status: std::process::ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn failed(error: std::io::Error) -> Error {
    Error::Unfit(format!("--ranks: the processes cannot be started: {error}"))
}

/// Asks the system to end this process as SIGTERM does when the one that started it for `--ranks` is gone.
#[cfg(target_os = "linux")]
pub(super) fn end_with_the_parent() {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let Some(parent) = std::env::var(OWN).ok().and_then(|id| id.parse::<i32>().ok()) else { return };
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    if getppid().map(|id| id.as_raw_nonzero().get()) != Some(parent) {
        // It was gone before that was asked.
        std::process::exit(143);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn end_with_the_parent() {}
