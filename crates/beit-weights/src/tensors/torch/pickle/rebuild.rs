//! Storages and tensors.

use super::super::fault::{Found, unreadable};
use super::super::tensor::{Storage, Tensor};
use super::heap::Node;
use super::machine::Machine;
use super::rule::Rebuild;
use super::value::{Global, Value};

impl<'a> Machine<'a> {
    /// What the file keeps outside of the pickle: numbers, and classes with their source.
    pub(super) fn persistent(&mut self) -> Found<()> {
        let id = self.pop()?;
        match *self.heap.sequence(id).unwrap_or_default() {
            [Value::Text("storage"), kind, Value::Text(key), _, Value::Int(elements), ref view @ ..] => {
                let storage = self.storage(kind, key, elements, view.first().copied())?;
                self.push_node(Node::Storage(Box::new(storage)))
            }
            // The legacy format adds the source of a class to its first use.
            [Value::Text("module"), class, _, _] if self.heap.global(class).is_some() => self.push(class),
            _ => unreadable("its pickle refers to something that is neither storage nor class"),
        }
    }

    fn storage(
        &self,
        kind: Value<'a>,
        key: &'a str,
        elements: i64,
        view: Option<Value<'a>>,
    ) -> Found<Storage<'a>> {
        let Some(kind) = self.heap.global(kind) else {
            return unreadable(format_args!("its storage {key} has no type"));
        };
        let mut storage = Storage::new(key, kind, elements)?;
        if let Some([_, Value::Int(first), Value::Int(length)]) =
            view.and_then(|view| self.heap.sequence(view))
        {
            storage.narrow(*first, *length)?;
        }
        Ok(storage)
    }

    /// The arguments of `_rebuild_tensor...`, each of the kind that it must have.
    pub(super) fn tensor(
        &self,
        function: Global<'a>,
        generation: Rebuild,
        arguments: &[Value<'a>],
    ) -> Found<Tensor<'a>> {
        let [storage, Value::Int(offset), shape, stride, rest @ ..] = arguments else {
            return unreadable(format_args!(
                "its pickle calls {function} without storage, offset and extents"
            ));
        };
        let (Some(Node::Storage(storage)), Some(shape), Some(stride)) =
            (self.heap.get(*storage), self.heap.sequence(*shape), self.heap.sequence(*stride))
        else {
            return unreadable(format_args!("its pickle calls {function} without storage and extents"));
        };
        let kind = match (generation, rest) {
            (Rebuild::V3, [_, _, kind, ..]) => self.heap.global(*kind),
            _ => None,
        };
        Tensor::new(**storage, kind, *offset, shape, stride)
    }
}
