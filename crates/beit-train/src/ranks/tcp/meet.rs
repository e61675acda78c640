//! How ranks find each other: all go to rank 0, which tells them where the others are.

use super::frame::{self, Kind};
use super::store::Store;
use crate::error::{Error, Result};
use crate::ranks::Failure;
use beit_data::Shard;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Where ranks meet, as whoever started them says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Which of how many this is.
    pub shard: Shard,
    /// Name or address of the machine of rank 0.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// The key under which rank 0 leaves its own port, where the launcher keeps a store at [`port`](Meeting::port), as torchrun does.
    /// Without one, rank 0 listens at that port itself.
    pub store: Option<String>,
    /// Whether all ranks are on this machine: then nobody else can reach them.
    pub local: bool,
    /// The same for all ranks of a run, and another for others that use the same port.
    pub run: u32,
    /// A rank that does not come for so long, or says nothing later, has failed.
    pub patience: Duration,
}

/// The first bytes of who belongs to a run. The number changes with what travels.
const MAGIC: &[u8; 12] = b"beit ranks 1";
/// Those, the run, a rank, the number of ranks, and the port where it listens.
const HELLO: usize = MAGIC.len() + 14;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);
/// So long one try may take, and whoever connects may say nothing.
const TRY: Duration = Duration::from_secs(5);

/// What a rank says of itself.
#[derive(Clone, Copy)]
struct Hello {
    run: u32,
    shard: Shard,
    port: u16,
}

impl Hello {
    fn write(self, mut to: &TcpStream) -> io::Result<()> {
        let (rank, of) = (self.shard.rank as u32, self.shard.of as u32);
        to.write_all(
            &[
                &MAGIC[..],
                &self.run.to_le_bytes(),
                &rank.to_le_bytes(),
                &of.to_le_bytes(),
                &self.port.to_le_bytes(),
            ]
            .concat(),
        )
    }

    /// None of who is a stranger, or says nothing for too long.
    fn read(mut from: &TcpStream, run: u32) -> Option<Self> {
        let (until, mut hello, mut read) = (Instant::now() + TRY, [0; HELLO], 0);
        while read < HELLO {
            let left = until.saturating_duration_since(Instant::now());
            let left = Some(left).filter(|left| !left.is_zero())?;
            from.set_read_timeout(Some(left)).ok()?;
            read += Some(from.read(&mut hello[read..]).ok()?).filter(|&more| more > 0)?;
        }
        let (magic, rest) = hello.split_first_chunk()?;
        let (own, rest) = rest.split_first_chunk()?;
        let (rank, rest) = rest.split_first_chunk()?;
        let (of, port) = rest.split_first_chunk()?;
        let shard = Shard { rank: u32::from_le_bytes(*rank) as usize, of: u32::from_le_bytes(*of) as usize };
        let belongs = magic == MAGIC && u32::from_le_bytes(*own) == run;
        belongs.then_some(Self { run, shard, port: u16::from_le_bytes(*port.first_chunk()?) })
    }
}

/// A connection to each rank; none to itself.
pub(super) fn all(meeting: &Meeting) -> Result<Vec<Option<TcpStream>>> {
    let Shard { rank, of } = meeting.shard;
    if rank >= of {
        return Err(Error::Meeting(format!("rank {rank} of {of}: expected a rank below {of}")));
    }
    let until = Instant::now() + meeting.patience;
    match (of, rank) {
        (1, _) => Ok(vec![None]),
        (_, 0) => host(meeting, until),
        _ => guest(meeting, until),
    }
}

/// Rank 0: waits for all, and tells them where the others are.
fn host(meeting: &Meeting, until: Instant) -> Result<Vec<Option<TcpStream>>> {
    let port = if meeting.store.is_some() { 0 } else { meeting.port };
    let listener = listen(meeting, port).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::AddrInUse => "the port is in use, by another run or another program; choose another MASTER_PORT (--master-port)".to_owned(),
            _ => error.to_string(),
        };
        Error::Meeting(format!("rank 0 cannot listen at port {port}: {why}"))
    })?;
    if let Some(key) = &meeting.store {
        let port = listener.local_addr().map_err(|error| Error::Meeting(error.to_string()))?.port();
        Store::open(connect(meeting, meeting.port, until)?)
            .and_then(|store| store.set(key, port.to_string().as_bytes(), until))
            .map_err(|error| failed(meeting, meeting.port, &error))?;
    }
    let found = come(meeting, &listener, 1, until, |hello, streams| fault(meeting.shard, hello, streams))?;
    let table = table(&found);
    for (_, stream) in found.iter().flatten() {
        frame::write(stream, Kind::Record, table.as_bytes())
            .map_err(|error| failed(meeting, meeting.port, &error))?;
    }
    Ok(found.into_iter().map(|found| found.map(|(_, stream)| stream)).collect())
}

/// What does not fit of somebody who came to rank 0.
fn fault(own: Shard, hello: Hello, found: &[Option<(Hello, TcpStream)>]) -> Option<String> {
    let Shard { rank, of } = hello.shard;
    if of != own.of {
        return Some(format!("rank {rank} was started as one of {of} ranks, rank 0 as one of {}", own.of));
    }
    let taken = rank == 0 || found.get(rank).is_none_or(Option::is_some);
    taken.then(|| format!("two processes were started as rank {rank} of {of}"))
}

/// Any other rank: goes to rank 0, then to those below it, and waits for those above.
fn guest(meeting: &Meeting, until: Instant) -> Result<Vec<Option<TcpStream>>> {
    let Shard { rank, of } = meeting.shard;
    let port = match &meeting.store {
        None => meeting.port,
        Some(key) => {
            let found = Store::open(connect(meeting, meeting.port, until)?)
                .and_then(|store| store.get(key, until))
                .map_err(|error| failed(meeting, meeting.port, &error))?;
            let port = std::str::from_utf8(&found).ok().and_then(|port| port.parse().ok());
            port.ok_or_else(|| Error::Meeting(format!("the store of the launcher has no port under {key}")))?
        }
    };
    let first = connect(meeting, port, until)?;
    let problem = |error: &io::Error| failed(meeting, port, error);
    // Where the others are to come: on the way by which rank 0 is reached.
    let own = first.local_addr().map_err(|error| problem(&error))?.ip();
    let listener = TcpListener::bind((heard_by(meeting, own), 0)).map_err(|error| problem(&error))?;
    let hello = Hello {
        run: meeting.run,
        shard: meeting.shard,
        port: listener.local_addr().map_err(|error| problem(&error))?.port(),
    };
    hello.write(&first).map_err(|error| problem(&error))?;
    let addresses = addresses(meeting, port, &first)?;
    let mut streams: Vec<Option<TcpStream>> = (0..of).map(|_| None).collect();
    for (other, address) in addresses.into_iter().enumerate().take(rank).skip(1) {
        let stream = TcpStream::connect_timeout(&address, TRY.min(meeting.patience)).and_then(|stream| {
            hello.write(&stream)?;
            Ok(stream)
        });
        let unreachable =
            |error| Error::Meeting(format!("rank {rank} cannot reach rank {other} at {address}: {error}"));
        streams[other] = Some(stream.map_err(unreachable)?);
    }
    streams[0] = Some(first);
    for (other, found) in come(meeting, &listener, rank + 1, until, |_, _| None)?.into_iter().enumerate() {
        if let Some((_, stream)) = found {
            streams[other] = Some(stream);
        }
    }
    Ok(streams)
}

/// Waits until every rank from `from` on has connected. `fault` refuses somebody; all who are there are told.
fn come(
    meeting: &Meeting,
    listener: &TcpListener,
    from: usize,
    until: Instant,
    fault: impl Fn(Hello, &[Option<(Hello, TcpStream)>]) -> Option<String>,
) -> Result<Vec<Option<(Hello, TcpStream)>>> {
    let mut found: Vec<Option<(Hello, TcpStream)>> = (0..meeting.shard.of).map(|_| None).collect();
    let unheard = |error: io::Error| Error::Meeting(format!("rank {}: {error}", meeting.shard.rank));
    listener.set_nonblocking(true).map_err(unheard)?;
    while found.iter().skip(from).any(Option::is_none) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(_) if Instant::now() < until => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(_) => return Err(missing(meeting, &found, from)),
        };
        stream.set_nonblocking(false).map_err(unheard)?;
        let Some(hello) = Hello::read(&stream, meeting.run) else { continue };
        if let Some(fault) = fault(hello, &found) {
            let failure = Failure { rank: meeting.shard.rank, problem: format!("refuses to begin: {fault}") };
            for stream in found.iter().flatten().map(|(_, stream)| stream).chain([&stream]) {
                let _ = frame::write(stream, Kind::Failure, &failure.to_bytes());
            }
            return Err(Error::Meeting(fault));
        }
        match found.get_mut(hello.shard.rank) {
            Some(place @ None) if hello.shard.rank >= from => *place = Some((hello, stream)),
            _ => {}
        }
    }
    Ok(found)
}

/// Who did not come.
fn missing(meeting: &Meeting, found: &[Option<(Hello, TcpStream)>], from: usize) -> Error {
    let missing: Vec<String> =
        (from..found.len()).filter(|&rank| found[rank].is_none()).map(|rank| rank.to_string()).collect();
    let (ranks, have) = if missing.len() == 1 { ("rank", "has") } else { ("ranks", "have") };
    Error::Meeting(format!(
        "{ranks} {} {have} not come to rank {} within {} seconds",
        missing.join(", "),
        meeting.shard.rank,
        meeting.patience.as_secs_f64()
    ))
}

/// Where each rank listens, a line each.
fn table(found: &[Option<(Hello, TcpStream)>]) -> String {
    let peer = |stream: &TcpStream| stream.peer_addr().ok().map(|address| address.ip().to_canonical());
    // How other machines see this one: for ranks that are here too, and came by the loopback.
    let seen = found.iter().flatten().find_map(|(_, stream)| {
        let distant = peer(stream).is_some_and(|ip| !ip.is_loopback());
        stream.local_addr().ok().filter(|_| distant).map(|address| address.ip().to_canonical())
    });
    let line = |found: &Option<(Hello, TcpStream)>| match found {
        None => "\n".to_owned(),
        Some((hello, stream)) => {
            let ip = peer(stream).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let ip = seen.filter(|_| ip.is_loopback()).unwrap_or(ip);
            format!("{}\n", SocketAddr::new(ip, hello.port))
        }
    };
    found.iter().map(line).collect()
}

/// What rank 0 says of the others. Rank 0 has no address there.
fn addresses(meeting: &Meeting, port: u16, mut from: &TcpStream) -> Result<Vec<SocketAddr>> {
    let read = from
        .set_read_timeout(Some(meeting.patience))
        .and_then(|()| frame::head(&mut from))
        .and_then(|(kind, length)| Ok((kind, frame::bytes(&mut from, length)?)));
    match read.map_err(|error| failed(meeting, port, &error))? {
        (Kind::Failure, bytes) => Err(Failure::heard(meeting.shard, 0, &bytes)),
        (_, bytes) => {
            let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
            let text = String::from_utf8_lossy(&bytes);
            Ok(text.lines().map(|line| line.parse().unwrap_or(nowhere)).collect())
        }
    }
}

/// Listens to whoever may come.
fn listen(meeting: &Meeting, port: u16) -> io::Result<TcpListener> {
    if meeting.local {
        return TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    }
    // Either version, where the system has both. A machine may know its own name as an address that others cannot reach.
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
}

/// Where a rank listens that reaches rank 0 by an address of this version.
fn heard_by(meeting: &Meeting, own: IpAddr) -> IpAddr {
    match own {
        IpAddr::V4(_) if meeting.local => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

fn resolved(meeting: &Meeting, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((meeting.host.as_str(), port).to_socket_addrs()?.collect())
}

/// Tries until somebody answers: rank 0 may be late, and its name unknown until then.
fn connect(meeting: &Meeting, port: u16, until: Instant) -> Result<TcpStream> {
    loop {
        let connected = resolved(meeting, port).and_then(|addresses| {
            let mut failed = io::Error::from(ErrorKind::AddrNotAvailable);
            for address in addresses {
                match TcpStream::connect_timeout(&address, TRY) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => failed = error,
                }
            }
            Err(failed)
        });
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= until => return Err(failed(meeting, port, &error)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// That rank 0 is not there, or not any more.
fn failed(meeting: &Meeting, port: u16, error: &io::Error) -> Error {
    let Meeting { shard, host, patience, .. } = meeting;
    let why = match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "it has ended".to_owned()
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("it has said nothing for {} seconds", patience.as_secs_f64())
        }
        _ => error.to_string(),
    };
    Error::Meeting(format!("rank {} does not find rank 0 at {host}:{port}: {why}", shard.rank))
}
