//! Lists, tuples, sets and dicts.

use super::super::fault::{Found, unreadable};
use super::heap::Node;
use super::machine::Machine;
use super::opcode as op;
use super::value::{Pair, Value};

impl<'a> Machine<'a> {
    /// Opcodes that make or fill a collection; whether this was one.
    pub(super) fn collection(&mut self, opcode: u8) -> Found<bool> {
        match opcode {
            op::EMPTY_TUPLE | op::EMPTY_LIST | op::EMPTY_SET => self.push_node(Node::Sequence(Vec::new()))?,
            op::EMPTY_DICT => self.push_node(Node::Dict(Vec::new()))?,
            op::TUPLE1 => self.tuple::<1>()?,
            op::TUPLE2 => self.tuple::<2>()?,
            op::TUPLE3 => self.tuple::<3>()?,
            op::TUPLE | op::LIST | op::FROZENSET => {
                let items = self.pop_mark()?;
                self.push_node(Node::Sequence(items))?;
            }
            op::DICT => {
                let items = self.pop_mark()?;
                self.push_node(Node::Dict(pairs(&items)?))?;
            }
            op::APPEND => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            op::APPENDS | op::ADDITEMS => self.pop_mark().and_then(|items| self.extend(items))?,
            op::SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[(key, value)])?;
            }
            op::SETITEMS => {
                let items = self.pop_mark()?;
                self.set(&pairs(&items)?)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn tuple<const N: usize>(&mut self) -> Found<()> {
        let mut items = vec![Value::None; N];
        for item in items.iter_mut().rev() {
            *item = self.pop()?;
        }
        self.push_node(Node::Sequence(items))
    }

    /// Adds elements to the list, or to the object that extends list, on top.
    fn extend(&mut self, mut items: Vec<Value<'a>>) -> Found<()> {
        let top = self.top()?;
        match self.heap.get_mut(top) {
            Some(Node::Sequence(list)) => list.append(&mut items),
            Some(Node::Object(object)) => {
                let first = object.items.len();
                object.items.extend((first as i64..).map(Value::Int).zip(items));
            }
            _ => return unreadable("its pickle appends to a value that is no list"),
        }
        Ok(())
    }

    /// Adds entries to the dict, or to the object that extends dict, on top.
    fn set(&mut self, pairs: &[Pair<'a>]) -> Found<()> {
        let top = self.top()?;
        match self.heap.get_mut(top) {
            Some(Node::Dict(dict)) => dict.extend_from_slice(pairs),
            Some(Node::Object(object)) => object.items.extend_from_slice(pairs),
            _ => return unreadable("its pickle sets entries of a value that is no dict"),
        }
        Ok(())
    }
}

/// Keys and values by turns.
fn pairs<'a>(items: &[Value<'a>]) -> Found<Vec<Pair<'a>>> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => unreadable("its pickle has a key without a value"),
    }
}
