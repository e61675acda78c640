//! The stack machine, its memo and its limits.

use super::super::fault::{Fault, Found, unreadable};
use super::heap::{Heap, Node};
use super::literal::literal;
use super::opcode as op;
use super::stream::Stream;
use super::value::Value;
use std::collections::HashMap;

/// Bytes of the longest pickle that is read; that of BEiT-large has less than one of its 64 MiB.
pub(in super::super) const MAX_PICKLE: u64 = 1 << 26;

/// Values that a pickle may make, memorise or copy. A tensor takes some forty, and each at most a hundred bytes.
const MAX_VALUES: usize = 1 << 20;

/// A pickle that was read.
#[derive(Debug)]
pub(in super::super) struct Pickle<'a> {
    pub(in super::super) root: Value<'a>,
    pub(in super::super) heap: Heap<'a>,
    /// Its length: in the legacy format several lie one behind the other.
    pub(in super::super) length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with.
    pub(in super::super) fn read(bytes: &'a [u8]) -> Found<Self> {
        Machine::new(bytes).run()
    }
}

/// The state of reading.
pub(super) struct Machine<'a> {
    pub(super) input: Stream<'a>,
    pub(super) heap: Heap<'a>,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at the open marks, the innermost last.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    /// Of [`MAX_VALUES`].
    left: usize,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (stack, marks) = (Vec::new(), Vec::new());
        let (input, heap, memo) = (Stream::new(bytes), Heap::default(), HashMap::new());
        Self { input, heap, stack, marks, memo, left: MAX_VALUES }
    }

    fn run(mut self) -> Found<Pickle<'a>> {
        loop {
            match self.input.byte()? {
                op::STOP => break,
                opcode => self.step(opcode)?,
            }
        }
        let root = self.pop()?;
        Ok(Pickle { root, heap: self.heap, length: self.input.consumed() })
    }

    fn step(&mut self, opcode: u8) -> Found<()> {
        if let Some(value) = literal(opcode, &mut self.input)? {
            return self.push(value);
        }
        if self.frame(opcode)? || self.collection(opcode)? || self.recall(opcode)? || self.object(opcode)? {
            return Ok(());
        }
        unreadable(format_args!("its pickle has opcode 0x{opcode:02x}, which no weights use"))
    }

    /// What concerns the pickle itself and the stack.
    fn frame(&mut self, opcode: u8) -> Found<bool> {
        match opcode {
            op::PROTO => match self.input.byte()? {
                0..=5 => {}
                version => {
                    return unreadable(format_args!("it has pickle protocol {version}, expected 0 to 5"));
                }
            },
            op::FRAME => _ = self.input.take(8)?,
            op::MARK => self.spend(1).map(|()| self.marks.push(self.stack.len()))?,
            // As in CPython, a mark on top is popped like a value.
            op::POP if self.marks.last() == Some(&self.stack.len()) => _ = self.marks.pop(),
            op::POP => _ = self.pop()?,
            op::POP_MARK => _ = self.pop_mark()?,
            op::DUP => self.top().and_then(|value| self.push(value))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The memo, where values wait for their second use.
    fn recall(&mut self, opcode: u8) -> Found<bool> {
        match opcode {
            op::PUT => self.index().and_then(|index| self.put(index))?,
            op::BINPUT => self.input.byte().and_then(|index| self.put(index.into()))?,
            op::LONG_BINPUT => self.input.array().and_then(|index| self.put(u32::from_le_bytes(index)))?,
            op::MEMOIZE => self.put(self.memo.len() as u32)?,
            op::GET => self.index().and_then(|index| self.get(index))?,
            op::BINGET => self.input.byte().and_then(|index| self.get(index.into()))?,
            op::LONG_BINGET => self.input.array().and_then(|index| self.get(u32::from_le_bytes(index)))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn index(&mut self) -> Found<u32> {
        let line = self.input.line()?;
        let wrong = |_| {
            Fault::Unreadable(format!("its pickle has `{}` for a place in the memo", line.escape_debug()))
        };
        line.parse().map_err(wrong)
    }

    fn put(&mut self, index: u32) -> Found<()> {
        self.spend(1)?;
        let value = self.top()?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn get(&mut self, index: u32) -> Found<()> {
        match self.memo.get(&index) {
            Some(&value) => self.push(value),
            None => unreadable(format_args!("its pickle reads place {index} of the memo, which is empty")),
        }
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Found<()> {
        self.spend(1)?;
        self.stack.push(value);
        Ok(())
    }

    /// Pushes a value with parts.
    pub(super) fn push_node(&mut self, node: Node<'a>) -> Found<()> {
        let value = self.heap.add(node);
        self.push(value)
    }

    pub(super) fn pop(&mut self) -> Found<Value<'a>> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    /// The last value, unless a mark lies on it.
    pub(super) fn top(&self) -> Found<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.get(floor..).and_then(<[_]>::last) {
            Some(&value) => Ok(value),
            None => unreadable("its pickle takes a value from an empty stack"),
        }
    }

    /// The values above the innermost mark, and the mark.
    pub(super) fn pop_mark(&mut self) -> Found<Vec<Value<'a>>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => unreadable("its pickle ends a collection that was not begun"),
        }
    }

    /// Counts values that take memory.
    pub(super) fn spend(&mut self, values: usize) -> Found<()> {
        match self.left.checked_sub(values) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => unreadable(format_args!("its pickle makes more than {MAX_VALUES} values")),
        }
    }
}
