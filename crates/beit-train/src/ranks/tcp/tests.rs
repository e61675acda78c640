use super::*;
use crate::ranks::sum_over_ranks;
use std::io::Write;
use std::net::TcpListener;

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn meeting(rank: usize, of: usize, port: u16) -> Meeting {
    Meeting {
        shard: Shard { rank, of },
        host: "127.0.0.1".to_owned(),
        port,
        store: None,
        local: false,
        run: 7,
        patience: Duration::from_secs(20),
    }
}

/// Each of these meets the others in a thread of its own, and does something.
fn all<T: Send>(meetings: &[Meeting], work: impl Fn(Result<Tcp>) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let ranks: Vec<_> =
            meetings.iter().map(|meeting| scope.spawn(move || work(Tcp::join(meeting)))).collect();
        ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect()
    })
}

fn ranks<T: Send>(of: usize, work: impl Fn(Tcp) -> T + Sync) -> Vec<T> {
    let port = free_port();
    let meetings: Vec<_> = (0..of).map(|rank| meeting(rank, of, port)).collect();
    all(&meetings, |tcp| work(tcp.expect("they meet")))
}

#[test]
fn numbers_and_records_travel() {
    for of in [1, 2, 3, 4, 8] {
        ranks(of, |mut tcp| {
            let rank = tcp.shard().rank;
            for length in [0, 1, 1001, 300_000] {
                let mut values: Vec<f32> = (0..length).map(|i| (i % 17 + rank) as f32).collect();
                sum_over_ranks(&mut tcp, &mut values).expect("all ranks are there");
                let (of, last) = (of as f32, of as f32 - 1.0);
                let sum = |i: usize| of * (i % 17) as f32 + of * last / 2.0;
                assert!(values.into_iter().enumerate().all(|(i, value)| value == sum(i)));
                let record = |rank: usize| vec![5 + rank as u8; rank * length];
                let records = tcp.gather(&record(rank)).expect("all ranks are there");
                assert!(records.into_iter().enumerate().all(|(rank, found)| found == record(rank)));
            }
        });
    }
}

#[test]
fn the_first_that_fails_is_named_to_all() {
    let said = ranks(3, |mut tcp| {
        let own = tcp.shard().rank;
        let error = match own {
            1 => Error::Recipe("no room on the disk".to_owned()),
            _ => tcp.gather(&[]).expect_err("rank 1 does not come"),
        };
        tcp.fail(&Failure::of(own, &error));
        error.to_string()
    });
    for rank in [0, 2] {
        let expected = format!("rank {rank} of this run cannot go on: rank 1 failed: no room on the disk");
        assert_eq!(said[rank], expected);
    }
}

/// While the other sends more than a connection takes in.
#[test]
fn a_failure_is_heard_while_numbers_are_sent() {
    let said = ranks(2, |mut tcp| match tcp.shard().rank {
        0 => {
            let numbers = vec![1.0; 10_000_000];
            tcp.exchange(1, &numbers, &mut [0.0; 2]).expect_err("rank 1 fails").to_string()
        }
        _ => {
            tcp.fail(&Failure::own(1, "no room"));
            String::new()
        }
    });
    assert_eq!(said[0], "rank 0 of this run cannot go on: rank 1 failed: no room");
}

#[test]
fn a_rank_that_ended_or_sleeps_is_named() {
    let said = ranks(2, |mut tcp| match tcp.shard().rank {
        0 => tcp.exchange(1, &[1.0], &mut [0.0]).expect_err("rank 1 has ended").to_string(),
        _ => String::new(),
    });
    assert_eq!(said[0], "rank 0 of this run cannot go on: rank 1 has ended");
    let said = ranks(2, |tcp| match tcp.shard().rank {
        0 => {
            let mut tcp = tcp.with_patience(Duration::from_millis(50)).expect("a time");
            tcp.exchange(1, &[1.0], &mut [0.0]).expect_err("rank 1 sleeps").to_string()
        }
        _ => {
            std::thread::sleep(Duration::from_millis(400));
            String::new()
        }
    });
    assert_eq!(said[0], "rank 0 of this run cannot go on: rank 1 has said nothing for 0.05 seconds");
}

#[test]
fn ranks_that_differ_are_found() {
    let said = ranks(2, |mut tcp| match tcp.shard().rank {
        0 => tcp.exchange(1, &[], &mut [0.0; 3]).expect_err("another length").to_string(),
        _ => tcp.exchange(0, &[1.0; 2], &mut []).map(|()| String::new()).expect("it is sent"),
    });
    assert!(said[0].ends_with("rank 1 sent 2 numbers, expected 3"), "{}", said[0]);
    let said = ranks(2, |mut tcp| match tcp.shard().rank {
        0 => tcp.exchange(1, &[], &mut [0.0]).expect_err("a record").to_string(),
        _ => tcp.gather(&[]).map_or_else(|error| error.to_string(), |_| String::new()),
    });
    assert!(said[0].ends_with("rank 1 sent a record, expected numbers"), "{}", said[0]);
}

/// What each of these says that cannot meet.
fn refused(meetings: &[Meeting]) -> Vec<String> {
    all(meetings, |tcp| tcp.err().map(|error| error.to_string()).unwrap_or_default())
}

#[test]
fn ranks_that_do_not_belong_together_are_refused() {
    let port = free_port();
    let said = refused(&[meeting(0, 2, port), meeting(1, 4, port)]);
    let fault = "rank 1 was started as one of 4 ranks, rank 0 as one of 2";
    assert_eq!(said[0], format!("the ranks of this run cannot meet: {fault}"));
    assert_eq!(said[1], format!("rank 1 of this run cannot go on: rank 0 refuses to begin: {fault}"));

    let port = free_port();
    let said = refused(&[meeting(0, 3, port), meeting(1, 3, port), meeting(1, 3, port)]);
    let fault = "two processes were started as rank 1 of 3";
    assert!(said.iter().all(|said| said.ends_with(fault)), "{said:?}");

    let said = refused(&[meeting(2, 2, 1)]);
    assert!(said[0].ends_with("rank 2 of 2: expected a rank below 2"), "{}", said[0]);
}

#[test]
fn ranks_that_do_not_come_are_named() {
    let port = free_port();
    let short = |rank| Meeting { patience: Duration::from_millis(300), ..meeting(rank, 3, port) };
    let said = refused(&[short(0)]);
    assert!(said[0].ends_with("ranks 1, 2 have not come to rank 0 within 0.3 seconds"), "{}", said[0]);
    let said = refused(&[short(2)]);
    let begin =
        format!("the ranks of this run cannot meet: rank 2 does not find rank 0 at 127.0.0.1:{port}: ");
    assert!(said[0].starts_with(&begin), "{}", said[0]);
}

#[test]
fn a_port_in_use_is_said() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let said = refused(&[meeting(0, 2, port)]);
    assert!(
        said[0].contains(&format!("rank 0 cannot listen at port {port}: the port is in use")),
        "{}",
        said[0]
    );
}

/// Whoever scans the port of a machine.
#[test]
fn strangers_are_passed_over() {
    let port = free_port();
    let stranger = std::thread::spawn(move || {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n and more than a hello has"[..], b""] {
            while TcpStream::connect(("127.0.0.1", port)).and_then(|mut to| to.write_all(bytes)).is_err() {}
        }
        let tcp = Tcp::join(&meeting(1, 2, port)).expect("rank 0 still waits");
        tcp.shard.rank
    });
    let mut tcp = Tcp::join(&meeting(0, 2, port)).expect("rank 1 comes");
    assert_eq!(stranger.join().expect("no panic"), 1);
    assert!(tcp.gather(&[]).is_err(), "it has ended");
}

/// Another run at the same port, whose ranks wait for each other in vain.
#[test]
fn ranks_of_another_run_are_passed_over() {
    let port = free_port();
    let other = Meeting { run: 8, patience: Duration::from_millis(300), ..meeting(1, 2, port) };
    let meetings = [meeting(0, 2, port), other, meeting(1, 2, port)];
    let met =
        all(&meetings, |tcp| tcp.and_then(|mut tcp| tcp.gather(&[1])).map_err(|error| error.to_string()));
    assert_eq!(met[0], Ok(vec![vec![1]; 2]));
    assert!(met[1].is_err() && met[2] == met[0], "{met:?}");
}

#[test]
fn ranks_of_one_machine_are_reached_from_there_alone() {
    let port = free_port();
    let meetings = [0, 1, 2].map(|rank| Meeting { local: true, ..meeting(rank, 3, port) });
    let met = all(&meetings, |tcp| tcp.expect("they meet").gather(&[1]).expect("all are there").len());
    assert_eq!(met, [3; 3]);
}

/// What torchrun's store is asked, in its own words, and what it answers.
#[test]
fn the_port_is_left_in_the_store_of_the_launcher() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let store = std::thread::spawn(move || {
        let mut value = Vec::new();
        // Rank 0 first: whoever waits is answered when there is something.
        let mut streams: Vec<_> = (0..2).map(|_| listener.accept().expect("a rank").0).collect();
        let mut begun: Vec<u8> = streams.iter_mut().map(begin).collect();
        if begun[0] != 1 {
            streams.reverse();
            begun.reverse();
        }
        assert_eq!(begun, [1, 6], "one sets, one waits");
        let mut key = text(&mut streams[0]);
        value.extend(text(&mut streams[0]));
        assert_eq!(key, b"/beit/1");
        for (stream, waits) in streams.iter_mut().zip([false, true]) {
            if !waits {
                assert_eq!(byte(stream), 6);
            }
            assert_eq!(number(stream), 1, "one key");
            key = text(stream);
            assert_eq!(key, b"/beit/1");
            stream.write_all(&[0]).expect("it listens");
            assert_eq!((byte(stream), text(stream)), (3, key.clone()));
            stream.write_all(&(value.len() as u64).to_le_bytes()).expect("it listens");
            stream.write_all(&value).expect("it listens");
        }
    });
    let with_store = |rank| Meeting { store: Some("/beit/1".to_owned()), ..meeting(rank, 2, port) };
    let met = all(&[with_store(0), with_store(1)], |tcp| {
        tcp.expect("they meet").gather(&[7]).expect("both are there")
    });
    assert_eq!(met, vec![vec![vec![7]; 2]; 2]);
    store.join().expect("what it was asked is what it knows");
}

/// Validates, and returns what is asked first.
fn begin(stream: &mut TcpStream) -> u8 {
    let mut first = [0; 6];
    stream.read_exact(&mut first).expect("a question");
    assert_eq!(first[..5], [0, 0xCE, 0xF7, 0x85, 0x3C]);
    first[5]
}

fn byte(stream: &mut TcpStream) -> u8 {
    let mut byte = [0];
    stream.read_exact(&mut byte).expect("a byte");
    byte[0]
}

fn number(stream: &mut TcpStream) -> u64 {
    let mut number = [0; 8];
    stream.read_exact(&mut number).expect("a number");
    u64::from_le_bytes(number)
}

fn text(stream: &mut TcpStream) -> Vec<u8> {
    let mut text = vec![0; number(stream) as usize];
    stream.read_exact(&mut text).expect("a text");
    text
}
