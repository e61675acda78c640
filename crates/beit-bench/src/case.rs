//! Something to measure, on any device.

use crate::peer::Program;
use beit_ops::{Ops, Shape};

/// Something that can be run again and again.
pub(crate) type Running<'a> = Box<dyn FnMut() + 'a>;
/// Makes the tensors that a case works on.
pub(crate) type Fill<O> = fn(&O, Shape) -> <O as beit_ops::Device>::Tensor;

/// Something to measure, on any device.
pub(crate) trait Case {
    /// The kind, for a person.
    fn name(&self) -> String;
    /// Allocates everything, and returns what is to be timed.
    fn prepare<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a>;
    /// Whether it is the product that others are compared with.
    fn is_square(&self) -> bool {
        false
    }
    /// Images of a call, where it has any.
    fn images(&self) -> Option<usize> {
        None
    }
    /// What the peer is asked, where it knows the case.
    fn question(&self) -> Option<serde_json::Value> {
        None
    }
    /// Which of the peer's programs is asked.
    fn program(&self) -> Program {
        Program::Models
    }
}
