//! Parameters where they are: the one place in which a door's plain types meet those of a device.

use std::rc::Rc;

/// Parameters on a device.
pub(crate) struct On<O, P> {
    pub(crate) ops: Rc<O>,
    pub(crate) params: Rc<P>,
}

impl<O, P> On<O, P> {
    pub(crate) fn new(ops: &Rc<O>, params: P) -> Self {
        Self { ops: Rc::clone(ops), params: Rc::new(params) }
    }
}
