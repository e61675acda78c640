//! A value of a pickle, and what it is called by name.

use std::fmt;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    /// A number or bytes that no tensor and no name is made of.
    Other,
    /// Place in the heap.
    Node(usize),
}

/// Key and value.
pub(in super::super) type Pair<'a> = (Value<'a>, Value<'a>);

/// A class or function, by name only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Global<'a> {
    pub(in super::super) module: &'a str,
    pub(in super::super) name: &'a str,
}

impl fmt::Display for Global<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}
