//! Names, calls and instances: the opcodes with which a pickle could do harm.

use super::super::fault::{Fault, Found, unreadable};
use super::heap::{Node, Object};
use super::machine::Machine;
use super::opcode as op;
use super::rule::{Role, role};
use super::value::{Global, Value};

impl<'a> Machine<'a> {
    /// Opcodes that import, call, make or fill an instance; whether this was one.
    pub(super) fn object(&mut self, opcode: u8) -> Found<bool> {
        match opcode {
            op::GLOBAL => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.import(Global { module, name })?;
            }
            op::STACK_GLOBAL => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.import(Global { module, name })?,
                _ => return unreadable("its pickle imports a name that is no text"),
            },
            op::REDUCE => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let value = self.call(callee, arguments)?;
                self.push(value)?;
            }
            op::NEWOBJ => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.instance(class, arguments)?;
            }
            op::NEWOBJ_EX => {
                let (keywords, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                if self.heap.dict(keywords).is_none_or(|keywords| !keywords.is_empty()) {
                    return Err(self.refusal(class));
                }
                self.instance(class, arguments)?;
            }
            op::INST => {
                let arguments = self.pop_mark()?;
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.import(Global { module, name })?;
                let (class, arguments) = (self.pop()?, self.heap.add(Node::Sequence(arguments)));
                self.instance(class, arguments)?;
            }
            op::OBJ => {
                let mut arguments = self.pop_mark()?.into_iter();
                let class = arguments.next().unwrap_or(Value::None);
                let arguments = self.heap.add(Node::Sequence(arguments.collect()));
                self.instance(class, arguments)?;
            }
            op::BUILD => self.build()?,
            op::BINPERSID => self.persistent()?,
            op::EXT1 | op::EXT2 | op::EXT4 => return self.extension(opcode),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Every name comes in here, and what may not be imported is refused here whatever would be done with it.
    fn import(&mut self, global: Global<'a>) -> Found<()> {
        match role(global) {
            Some(_) => self.push_node(Node::Global(global)),
            None => Err(Fault::Calls(global.to_string())),
        }
    }

    /// Numbers stand for names that a program registered with `copyreg`: nobody knows which.
    fn extension(&mut self, opcode: u8) -> Found<bool> {
        let mut code = [0; 4];
        let width = 1 << (opcode - op::EXT1);
        code[..width].copy_from_slice(self.input.take(width as u64)?);
        Err(Fault::Calls(format!("copyreg extension {}", u32::from_le_bytes(code))))
    }

    /// The result of a call, if it is one that may be asked for.
    fn call(&mut self, callee: Value<'a>, arguments: Value<'a>) -> Found<Value<'a>> {
        let Some(function) = self.heap.global(callee) else { return Err(self.refusal(callee)) };
        let Some(arguments) = self.heap.sequence(arguments) else {
            return unreadable(format_args!("its pickle calls {function} without a tuple of arguments"));
        };
        let first = arguments.first().copied();
        match role(function) {
            Some(Role::Dict) => {
                let items = self.entries(function, first)?;
                Ok(self.heap.add(Node::Dict(items)))
            }
            Some(Role::Sequence) => match first {
                Some(items) if self.heap.sequence(items).is_some() => Ok(items),
                Some(_) => unreadable(format_args!("its pickle calls {function} with no list")),
                None => Ok(self.heap.add(Node::Sequence(Vec::new()))),
            },
            Some(Role::Tensor(generation)) => {
                let tensor = self.tensor(function, generation, arguments)?;
                // A long shape may be used by many tensors.
                self.spend(2 * tensor.shape.len())?;
                Ok(self.heap.add(Node::Tensor(Box::new(tensor))))
            }
            Some(Role::Unread(kind)) => Ok(self.heap.add(Node::Unread(kind))),
            Some(Role::Parameter) => match first {
                Some(data) if matches!(self.heap.get(data), Some(Node::Tensor(_) | Node::Unread(_))) => {
                    Ok(data)
                }
                _ => unreadable(format_args!("its pickle calls {function} without a tensor")),
            },
            Some(Role::FromType) => match *arguments {
                [function, _, arguments, ..] => self.call_of_type(function, arguments),
                _ => unreadable(format_args!("its pickle calls {function} with too little")),
            },
            Some(Role::Instance) => match *arguments {
                [class, base, Value::None] if self.is_object(base) => self.new_object(class),
                _ => Err(Fault::Calls(function.to_string())),
            },
            Some(Role::Inert) => Ok(self.heap.add(empty(function))),
            Some(Role::Data) | None => Err(Fault::Calls(function.to_string())),
        }
    }

    /// A call within a call goes one level deep: only what makes a tensor.
    fn call_of_type(&mut self, function: Value<'a>, arguments: Value<'a>) -> Found<Value<'a>> {
        let makes_tensor =
            |global| matches!(role(global), Some(Role::Tensor(_) | Role::Unread(_) | Role::Parameter));
        match self.heap.global(function) {
            Some(global) if makes_tensor(global) => self.call(function, arguments),
            _ => Err(self.refusal(function)),
        }
    }

    /// A class called without arguments is data; called with some it is a call.
    fn instance(&mut self, class: Value<'a>, arguments: Value<'a>) -> Found<()> {
        let without = self.heap.sequence(arguments).is_some_and(<[_]>::is_empty);
        let data = self.heap.global(class).and_then(role) == Some(Role::Data);
        let value = if data && without { self.new_object(class)? } else { self.call(class, arguments)? };
        self.push(value)
    }

    fn new_object(&mut self, class: Value<'a>) -> Found<Value<'a>> {
        match self.heap.global(class) {
            Some(class) => Ok(self.heap.add(empty(class))),
            None => Err(self.refusal(class)),
        }
    }

    fn is_object(&self, base: Value<'a>) -> bool {
        let is = |global: Global<'_>| {
            global.name == "object" && matches!(global.module, "builtins" | "__builtin__")
        };
        self.heap.global(base).is_some_and(is)
    }

    /// The pairs that a dict is made of.
    fn entries(
        &mut self,
        function: Global<'a>,
        list: Option<Value<'a>>,
    ) -> Found<Vec<(Value<'a>, Value<'a>)>> {
        let Some(list) = list else { return Ok(Vec::new()) };
        let pair = |&item| match self.heap.sequence(item) {
            Some(&[key, value]) => Some((key, value)),
            _ => None,
        };
        let pairs =
            self.heap.sequence(list).and_then(|list| list.iter().map(pair).collect::<Option<Vec<_>>>());
        let Some(pairs) = pairs else {
            return unreadable(format_args!("its pickle calls {function} with no list of pairs"));
        };
        self.spend(pairs.len())?;
        Ok(pairs)
    }

    /// Gives the value on top its attributes.
    fn build(&mut self) -> Found<()> {
        let state = self.pop()?;
        let target = self.top()?;
        if let Some(callee) = self.setter(state)? {
            return Err(self.refusal(callee));
        }
        match self.heap.get_mut(target) {
            Some(Node::Object(object)) => object.state = state,
            // An OrderedDict's attributes are versions of layers; a tensor's are hooks.
            Some(Node::Dict(_) | Node::Tensor(_) | Node::Unread(_)) => {}
            Some(Node::Global(_)) => return Err(self.refusal(target)),
            _ => return unreadable("its pickle gives attributes to a value that has none"),
        }
        Ok(())
    }

    /// What would be called with the next state if an instance got this one: the attribute `__setstate__`.
    fn setter(&mut self, state: Value<'a>) -> Found<Option<Value<'a>>> {
        // Attributes that are kept elsewhere come as a second dict.
        let parts = [&[state], self.heap.sequence(state).unwrap_or_default()].concat();
        let length = |&part| self.heap.dict(part).map_or(1, <[_]>::len);
        // The same state may be given a million times.
        self.spend(parts.iter().map(length).sum())?;
        Ok(parts.iter().find_map(|&part| self.heap.entry(part, "__setstate__")))
    }

    /// Names what was to be called.
    fn refusal(&self, callee: Value<'a>) -> Fault {
        Fault::Calls(match self.heap.get(callee) {
            Some(Node::Global(global)) => global.to_string(),
            Some(Node::Object(object)) => format!("an object of {}", object.class),
            _ => "a value that is no function".to_owned(),
        })
    }
}

fn empty(class: Global<'_>) -> Node<'_> {
    Node::Object(Box::new(Object { class, items: Vec::new(), state: Value::None }))
}
