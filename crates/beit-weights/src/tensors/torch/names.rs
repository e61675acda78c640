//! The names of tensors: the way to each through dicts, lists and modules.

use super::fault::{Found, unreadable};
use super::pickle::{Heap, Node, Object, Pickle, Value};
use super::tensor::Tensor;

/// Levels of the deepest dict or module that is looked into. A dict may contain itself, so there must be some.
const MAX_DEPTH: u32 = 64;

/// Entries of dicts, lists and modules that are looked at. A dict may be in many places, so the pickle's length is no bound.
const MAX_ENTRIES: usize = 1 << 21;

/// Tensors that a file may have, each with a name of its own even if they share their numbers.
const MAX_TENSORS: usize = 1 << 16;

/// Bytes of the longest name.
const MAX_NAME: usize = 512;

/// The tensors of a pickle with their names, in the order of the file; a module's are those of its `state_dict()`.
pub(super) fn tensors<'a, 'p>(pickle: &'p Pickle<'a>) -> Found<Vec<(String, &'p Tensor<'a>)>> {
    let (steps, open, found) = (Vec::new(), Vec::new(), Vec::new());
    let mut walk = Walk { heap: &pickle.heap, left: MAX_ENTRIES, steps, open, found };
    walk.enter(None, Value::Text("tensor"), pickle.root, 0)?;
    while let Some((value, step)) = walk.open.pop() {
        walk.look(value, step)?;
    }
    Ok(walk.found)
}

/// The key beside the parameters under which the names of a classifier's classes stand.
pub(crate) const CLASS_NAMES: &str = "class_names";

/// Names of classes that a file may have.
const MAX_CLASSES: usize = 1 << 16;

/// The names of classes beside the tensors: a list of text. A list may hold one text many times, so its length is bounded as well.
pub(super) fn class_names(pickle: &Pickle<'_>) -> Option<Vec<String>> {
    let names = pickle.heap.entry(pickle.root, CLASS_NAMES)?;
    let names = pickle.heap.sequence(names).filter(|names| names.len() <= MAX_CLASSES)?;
    let name = |value: &Value<'_>| match value {
        Value::Text(name) if name.len() <= MAX_NAME => Some((*name).to_owned()),
        _ => None,
    };
    names.iter().map(name).collect()
}

/// One level of a name.
struct Step<'a> {
    above: Option<usize>,
    /// Text or a number.
    key: Value<'a>,
    depth: u32,
}

struct Walk<'a, 'p> {
    heap: &'p Heap<'a>,
    /// Of [`MAX_ENTRIES`].
    left: usize,
    steps: Vec<Step<'a>>,
    /// Values yet to be looked at with their steps, the next one last.
    open: Vec<(Value<'a>, usize)>,
    found: Vec<(String, &'p Tensor<'a>)>,
}

impl<'a, 'p> Walk<'a, 'p> {
    /// Puts a value on the list if there can be tensors in it. What is under another key than text or a number has no name.
    fn enter(&mut self, above: Option<usize>, key: Value<'a>, value: Value<'a>, depth: u32) -> Found<()> {
        if !matches!(value, Value::Node(_)) || !matches!(key, Value::Text(_) | Value::Int(_)) {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return unreadable(format_args!("it is nested more than {MAX_DEPTH} levels deep"));
        }
        self.steps.push(Step { above, key, depth });
        self.open.push((value, self.steps.len() - 1));
        Ok(())
    }

    fn look(&mut self, value: Value<'a>, step: usize) -> Found<()> {
        let waiting = self.open.len();
        let heap = self.heap;
        match heap.get(value) {
            Some(Node::Tensor(_)) if self.found.len() == MAX_TENSORS => {
                return unreadable(format_args!("it has more than {MAX_TENSORS} tensors"));
            }
            Some(Node::Tensor(tensor)) => {
                let name = self.name(step)?;
                self.found.push((name, tensor));
            }
            Some(Node::Dict(pairs)) => {
                self.spend(pairs.len())?;
                self.enter_all(step, pairs.iter().copied())?;
            }
            Some(Node::Sequence(items)) => {
                self.spend(items.len())?;
                self.enter_all(step, (0..).map(Value::Int).zip(items.iter().copied()))?;
            }
            Some(Node::Object(object)) => self.enter_object(step, object)?,
            Some(Node::Global(_) | Node::Storage(_)) | None => {}
        }
        // The list is worked off from its end.
        self.open[waiting..].reverse();
        Ok(())
    }

    fn enter_all(&mut self, above: usize, pairs: impl Iterator<Item = (Value<'a>, Value<'a>)>) -> Found<()> {
        let depth = self.steps[above].depth + 1;
        for (key, value) in pairs {
            self.enter(Some(above), key, value, depth)?;
        }
        Ok(())
    }

    /// A module's parameters, buffers and children, as `state_dict()` has them; of other objects what a dict or list would hold.
    fn enter_object(&mut self, step: usize, object: &'p Object<'a>) -> Found<()> {
        let heap = self.heap;
        self.spend(object.items.len() + heap.dict(object.state).unwrap_or_default().len())?;
        self.enter_all(step, object.items.iter().copied())?;
        let table = |name| heap.entry(object.state, name).and_then(|table| heap.dict(table));
        let (Some(parameters), Some(buffers), Some(modules)) =
            (table("_parameters"), table("_buffers"), table("_modules"))
        else {
            return Ok(());
        };
        let passing = heap.entry(object.state, "_non_persistent_buffers_set");
        let passing = passing.and_then(|names| heap.sequence(names)).unwrap_or_default();
        self.spend(parameters.len() + buffers.len() * (1 + passing.len()) + modules.len())?;
        let kept = buffers.iter().filter(|(name, _)| !passing.contains(name));
        self.enter_all(step, parameters.iter().chain(kept).chain(modules).copied())
    }

    /// Counts entries before they are looked at.
    fn spend(&mut self, entries: usize) -> Found<()> {
        match self.left.checked_sub(entries) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => unreadable(format_args!("it has more than {MAX_ENTRIES} entries in its dicts and lists")),
        }
    }

    /// The keys from the root, joined by dots. The root's own key is the name of a file that is nothing but a tensor.
    fn name(&self, step: usize) -> Found<String> {
        let mut keys = Vec::new();
        let mut next = Some(step);
        while let Some(Step { above, key, .. }) = next.map(|step| &self.steps[step]) {
            if above.is_some() || keys.is_empty() {
                keys.push(*key);
            }
            next = *above;
        }
        let length: usize =
            keys.iter().map(|key| if let Value::Text(key) = key { key.len() } else { 20 }).sum();
        if length > MAX_NAME {
            return unreadable(format_args!("it has a tensor with a name of more than {MAX_NAME} bytes"));
        }
        let keys: Vec<String> = keys.iter().rev().map(|&key| spelled(key)).collect();
        Ok(keys.join("."))
    }
}

fn spelled(key: Value<'_>) -> String {
    match key {
        Value::Text(key) => key.to_owned(),
        Value::Int(key) => key.to_string(),
        _ => String::new(),
    }
}
