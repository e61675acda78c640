//! The store that torchrun keeps for the processes that it starts, as far as it is needed here: values by their keys, which any of them
//! leaves and any of them waits for. (PyTorch, `torch/csrc/distributed/c10d/TCPStore.cpp`.)

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What is asked for, by the first byte.
#[derive(Clone, Copy)]
enum Query {
    Validate = 0,
    Set = 1,
    Get = 3,
    Wait = 6,
}

/// What the store expects first of everybody.
const MAGIC: u32 = 0x3C85_F7CE;
/// Bytes of a value, at most.
const LONGEST: u64 = 1 << 16;

/// A connection to the store.
pub(super) struct Store(TcpStream);

impl Store {
    /// Begins to talk.
    pub(super) fn open(mut stream: TcpStream) -> Result<Self> {
        stream.write_all(&[&[Query::Validate as u8], &MAGIC.to_le_bytes()[..]].concat())?;
        Ok(Self(stream))
    }

    /// Leaves a value.
    pub(super) fn set(&self, key: &str, value: &[u8], until: Instant) -> Result<()> {
        let mut message = vec![Query::Set as u8];
        append(&mut message, key.as_bytes());
        append(&mut message, value);
        (&self.0).write_all(&message)?;
        // It answers in order: what it gives back it has.
        self.get(key, until).map(drop)
    }

    /// Waits for a value.
    pub(super) fn get(&self, key: &str, until: Instant) -> Result<Vec<u8>> {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.0.set_read_timeout(Some(left))?;
        let mut store = &self.0;
        let mut wait = vec![Query::Wait as u8];
        wait.extend(1_u64.to_le_bytes());
        append(&mut wait, key.as_bytes());
        store.write_all(&wait)?;
        let mut answer = [0];
        store.read_exact(&mut answer)?;
        if answer != [0] {
            return Err(Error::other("the store of the launcher does not wait"));
        }
        let mut get = vec![Query::Get as u8];
        append(&mut get, key.as_bytes());
        store.write_all(&get)?;
        let mut length = [0; 8];
        store.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "the store of the launcher sent what is no value",
            ));
        }
        let mut value = vec![0; length as usize];
        store.read_exact(&mut value)?;
        Ok(value)
    }
}

/// A text or a value, after its length.
fn append(message: &mut Vec<u8>, bytes: &[u8]) {
    message.extend((bytes.len() as u64).to_le_bytes());
    message.extend(bytes);
}
