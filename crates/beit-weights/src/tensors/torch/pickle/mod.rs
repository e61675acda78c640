//! Pickles, read as data: the opcodes of Python's unpickler with nothing behind them that could run.

mod collection;
mod heap;
mod literal;
mod machine;
mod object;
pub(super) mod opcode;
mod python;
mod rebuild;
mod rule;
mod stream;
mod value;

pub(super) use heap::{Heap, Node, Object};
pub(super) use machine::{MAX_PICKLE, Pickle};
pub(super) use value::{Global, Value};
