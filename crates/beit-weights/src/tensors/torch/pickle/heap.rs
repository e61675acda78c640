//! What a pickle describes, without Python.
//!
//! Values that hold others lie in one vector and are referred to by their place in it, as Python refers to objects: reading a
//! value twice copies nothing, a value may contain itself, and dropping the lot needs no recursion.

use super::super::tensor::{Storage, Tensor};
use super::value::{Global, Pair, Value};

/// A value with parts; small, for a hostile pickle may make as many as it is let.
#[derive(Debug)]
pub(in super::super) enum Node<'a> {
    /// A list, tuple or set.
    Sequence(Vec<Value<'a>>),
    /// In the order of the file.
    Dict(Vec<Pair<'a>>),
    Global(Global<'a>),
    Object(Box<Object<'a>>),
    Storage(Box<Storage<'a>>),
    Tensor(Box<Tensor<'a>>),
    /// A tensor of a kind that is not read: sparse, say.
    Unread(&'static str),
}

/// An instance of a class that is not known here: what was put into it, nothing of what it does.
#[derive(Debug)]
pub(in super::super) struct Object<'a> {
    pub(in super::super) class: Global<'a>,
    /// Of classes that extend dict or list; elements of a list have their index as key.
    pub(in super::super) items: Vec<Pair<'a>>,
    /// Its attributes, `None` where it has none.
    pub(in super::super) state: Value<'a>,
}

/// All values of a pickle.
#[derive(Debug, Default)]
pub(in super::super) struct Heap<'a>(Vec<Node<'a>>);

impl<'a> Heap<'a> {
    /// Puts a value in; the only way to one, so that every place in a [`Value`] is valid.
    pub(super) fn add(&mut self, node: Node<'a>) -> Value<'a> {
        self.0.push(node);
        Value::Node(self.0.len() - 1)
    }

    /// The parts of a value that has any.
    pub(in super::super) fn get(&self, value: Value<'a>) -> Option<&Node<'a>> {
        match value {
            Value::Node(place) => self.0.get(place),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, value: Value<'a>) -> Option<&mut Node<'a>> {
        match value {
            Value::Node(place) => self.0.get_mut(place),
            _ => None,
        }
    }

    pub(in super::super) fn sequence(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.get(value)? {
            Node::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub(in super::super) fn dict(&self, value: Value<'a>) -> Option<&[Pair<'a>]> {
        match self.get(value)? {
            Node::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    pub(in super::super) fn global(&self, value: Value<'a>) -> Option<Global<'a>> {
        match self.get(value)? {
            Node::Global(global) => Some(*global),
            _ => None,
        }
    }

    /// A value of a dict, the last of the key, as in Python.
    pub(in super::super) fn entry(&self, dict: Value<'a>, key: &str) -> Option<Value<'a>> {
        self.dict(dict)?.iter().rev().find(|(name, _)| *name == Value::Text(key)).map(|(_, value)| *value)
    }

    /// All storages that the pickle mentions.
    pub(in super::super) fn storages(&self) -> impl Iterator<Item = Storage<'a>> {
        self.0.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(**storage),
            _ => None,
        })
    }
}
